import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { encodeStored, type Envelope } from './dsse.ts';
import { ReceiptFile } from './receipt.ts';
import { Policy, Ticket, Verdict, readTicket, statementBytes } from './statements.ts';

/** The documents of a receipt that anyone can verify. */
const VECTOR = new URL('../../../test/vectors/good-recomputed.case.json', import.meta.url);
const file = ReceiptFile.parse(
  JSON.parse(
    Buffer.from(
      z.object({ receipt: z.string() }).parse(JSON.parse(readFileSync(VECTOR, 'utf8'))).receipt,
      'base64',
    ).toString(),
  ),
);
const payloadOf = ({ payload }: Envelope) => Buffer.from(payload, 'base64');
const jsonOf = (envelope: Envelope): unknown => JSON.parse(payloadOf(envelope).toString());
const ticket = Ticket.parse(jsonOf(file.ticket));
const verdict = Verdict.parse(jsonOf(file.verdict));

describe('statements', () => {
  test('a parsed document has the bytes that it was signed in', () => {
    expect(statementBytes(ticket)).toEqual(payloadOf(file.ticket));
    expect(statementBytes(verdict)).toEqual(payloadOf(file.verdict));
  });

  test('the fields of a policy stand in one order, whatever the order in which they are asked for', () => {
    const policy = Policy.parse({ tee: true, quorum: { agree: 2, of: 3 }, tokens: 0.5, recompute: 1 });
    expect(JSON.stringify(policy)).toBe('{"recompute":1,"tokens":0.5,"quorum":{"of":3,"agree":2},"tee":true}');
  });

  test('what no promise knows is refused: a field of a policy, a property, a measurement', () => {
    expect(Policy.safeParse({ recompute: 1, twice: 1 }).success).toBe(false);
    const changed = (change: object) =>
      Verdict.safeParse({ ...verdict, predicate: { ...verdict.predicate, ...change } }).success;
    expect(changed({})).toBe(true);
    expect(changed({ properties: [...verdict.predicate.properties, 'ANSWERED_TWICE'] })).toBe(false);
    expect(changed({ notChecked: ['NOTHING'] })).toBe(false);
    expect(changed({ twice: { runs: 2 } })).toBe(false);
  });
});

describe('readTicket', () => {
  test('it reads what was stored, with the bytes that were signed', () => {
    const payload = statementBytes(ticket);
    const stored = encodeStored({ keyId: 'a'.repeat(64), signature: Buffer.alloc(64), payload });
    const read = readTicket('job', stored);
    expect([read.ticket, read.signed.payload]).toEqual([ticket, payload]);
  });

  test('a ticket of another version is not guessed at', () => {
    const payload = Buffer.from(statementBytes(ticket).toString().replace('ticket:v1', 'ticket:v2'));
    const stored = encodeStored({ keyId: 'a'.repeat(64), signature: Buffer.alloc(64), payload });
    expect(() => readTicket('job_x', stored)).toThrow(
      'The ticket of job_x is of the type urn:countersign:ticket:v2, and this version knows urn:countersign:ticket:v1.',
    );
  });

  test('what is not in the stored form is named by its job', () => {
    expect(() => readTicket('job_x', 'nonsense')).toThrow('job_x');
  });
});

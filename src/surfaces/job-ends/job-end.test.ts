import { describe, expect, test } from '@jest/globals';
import { documents } from '../../../test/support/sample-receipts.ts';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import type { JobRecord } from '../../core/jobs/job-record.ts';
import { erasedOf } from '../../core/jobs/erased-record.ts';
import { viewOf } from '../../core/jobs/job.reader.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes, type Evidence, type Ticket, type Verdict } from '../../proof/receipts/statements.ts';
import { emptyEnd, outcomeOf } from './job-end.ts';

const KEY = new SigningKey(Buffer.alloc(32, 1));
const CREATED_MS = Date.parse('2026-11-30T23:59:59.000Z');
const ENDED_MS = Date.parse('2026-12-01T00:00:02.000Z');
/** An attestor that was away sealed it later. */
const SEALED_MS = Date.parse('2027-01-01T00:00:00.001Z');
const PRICE = {
  table: { id: 'v1', sha256: '0'.repeat(64) },
  currency: 'USD',
  input: 1_000_000,
  output: 10_000_000,
  second: 0,
  attestation: 5,
  hold: 500,
};

const signed = (statement: Ticket | Evidence | Verdict) => signPayload(KEY, statementBytes(statement));

const { ticket, evidence, verdict } = documents(1);
const priced: Ticket = { ...ticket, predicate: { ...ticket.predicate, price: PRICE } };

const DONE = { state: 'done', atMs: ENDED_MS, epoch: 1, code: 'confirmed', detail: '' } as const;
const RECORD: JobRecord = {
  id: ticket.predicate.job,
  tenant: 'acme',
  model: 'kjv',
  queue: 'default.kjv',
  keyId: 'k1',
  createdMs: CREATED_MS,
  deadlineMs: ENDED_MS,
  maxAttempts: 3,
  cancelAskedMs: undefined,
  hold: 500,
  surface: undefined,
  isStored: true,
  attempts: [
    {
      epoch: 1,
      worker: 'w-1',
      claimedMs: ENDED_MS - 800,
      beganMs: ENDED_MS - 800,
      committedMs: ENDED_MS,
      closed: undefined,
    },
  ],
  ending: DONE,
  ticket: signed(priced),
  evidence: signed(evidence),
  verdict: signed(verdict),
  output: Buffer.from('answer'),
  salt: Buffer.alloc(32),
  index: 7,
};

/** The outcome of such a job, where it differs. */
function outcome(change: Partial<JobRecord> = {}, payment = '') {
  const record = { ...RECORD, ...change };
  return outcomeOf(viewOf(record), record.ending, { webhook: '', payment, batchLine: '', trace: '' }, SEALED_MS);
}

const held = (unitsPerMillionth: string) =>
  JSON.stringify({
    payload: { signed: true },
    requirements: {
      scheme: 'upto',
      network: 'eip155:1',
      amount: '1500',
      asset: '0x1',
      payTo: '0x2',
      maxTimeoutSeconds: 900,
      extra: {},
    },
    unitsPerMillionth,
    payer: '0xpayer',
    untilMs: 17,
  });

describe('the end of a job', () => {
  test.each(['done', 'failed'] as const)('that is %s is entered alike whether it was erased before or not', (state) => {
    const record = { ...RECORD, ending: { ...DONE, state } };
    const notes = { webhook: '', payment: '', batchLine: '', trace: '' };
    const before = outcomeOf(viewOf(record), record.ending, notes, SEALED_MS);
    expect(outcomeOf(viewOf(erasedOf(record, ENDED_MS)), record.ending, notes, SEALED_MS)).toEqual(before);
  });

  test('that is done is charged what its receipt comes to, in the month and on the day in which its end was sealed', () => {
    const { end, durationMs } = outcome();
    const charge = chargeOf(priced.predicate, evidence.predicate, verdict.predicate);
    expect(charge).toBe(2 + 10 + 5);
    expect(end).toMatchObject({
      score: SEALED_MS,
      day: '2027-01-01',
      month: '2027-01',
      usage: {
        'k1 kjv USD jobs': 1,
        'k1 kjv USD done': 1,
        'k1 kjv USD input_tokens': 2,
        'k1 kjv USD output_tokens': 1,
        'k1 kjv USD charged': charge,
      },
      tokens: 3,
      ledger: { currency: 'USD', charge, key: 'k1' },
    });
    expect(JSON.parse(end.ledger?.entry ?? '')).toMatchObject({
      kind: 'charge',
      at: new Date(ENDED_MS).toISOString(),
      amount: charge,
      currency: 'USD',
      table: 'v1',
    });
    expect(durationMs).toBe(800);
  });

  test.each(['rejected', 'failed', 'cancelled', 'expired'] as const)(
    'that is %s is released, and costs nothing',
    (state) => {
      const { end, durationMs } = outcome({ ending: { ...DONE, state }, evidence: undefined, verdict: undefined });
      expect(end.usage).toEqual({ 'k1 kjv USD jobs': 1 });
      expect(end.ledger).toMatchObject({ charge: 0 });
      expect(JSON.parse(end.ledger?.entry ?? '')).toMatchObject({ kind: 'release', amount: 0 });
      expect(durationMs).toBeUndefined();
    },
  );

  test('without a price has usage and no ledger, also where no key is known', () => {
    const { end } = outcome({ ticket: signed(ticket), verdict: undefined, hold: undefined, keyId: '' });
    expect(end.ledger).toBeUndefined();
    expect(end.usage).toMatchObject({ '- kjv - jobs': 1, '- kjv - output_tokens': 1 });
    expect(Object.keys(end.usage)).not.toContain('- kjv - charged');
  });

  test('whose documents do not have their form is counted, and costs nothing', () => {
    const { end } = outcome({ verdict: signed(evidence) });
    expect(end.usage['k1 kjv USD jobs']).toBe(1);
    expect(end.ledger).toMatchObject({ charge: 0 });
  });

  test('whose documents are gone leaves nothing but its place', () => {
    expect(emptyEnd(SEALED_MS)).toEqual({
      score: SEALED_MS,
      day: '2027-01-01',
      month: '2027-01',
      usage: {},
      tokens: 0,
    });
    expect(emptyEnd(SEALED_MS).ledger).toBeUndefined();
  });
});

describe("a payment of a job's own", () => {
  const payment = (held: string, change: Partial<JobRecord> = {}) => outcome(change, held).end.payment;

  test('is due for what a done job costs, in units of its token', () => {
    const due = payment(held('3'));
    expect(due).toMatchObject({ state: 'due', payer: '0xpayer', until: '17', payload: '{"signed":true}' });
    expect(JSON.parse(due?.['requirements'] ?? '')).toMatchObject({ scheme: 'upto', amount: String(17 * 3) });
  });

  test('is released when the job is not done, and keeps no authorization', () => {
    const released = payment(held('3'), { ending: { ...DONE, state: 'failed' }, verdict: undefined });
    expect(released).toMatchObject({ state: 'released', payer: '0xpayer' });
    expect(released).not.toHaveProperty('payload');
  });

  test('of a done job that costs nothing is settled without being asked for', () => {
    expect(payment(held('3'), { ticket: signed(ticket) })).toMatchObject({ state: 'settled' });
  });

  test('that is damaged is an error, and not a free answer', () => {
    expect(() => payment('{}')).toThrow();
  });
});

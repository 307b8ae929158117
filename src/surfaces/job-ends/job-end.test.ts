import { describe, expect, test } from '@jest/globals';
import { documents } from '../../../test/support/sample-receipts.ts';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes, type Evidence, type Ticket, type Verdict } from '../../proof/receipts/statements.ts';
import { emptyEnd, outcomeOf, type OutcomeRow } from './job-end.ts';

const KEY = new SigningKey(Buffer.alloc(32, 1));
const CREATED_MS = Date.parse('2026-11-30T23:59:59.000Z');
const ENDED_MS = Date.parse('2026-12-01T00:00:02.000Z');
const PRICE = {
  table: { id: 'v1', sha256: '0'.repeat(64) },
  currency: 'USD',
  input: 1_000_000,
  output: 10_000_000,
  second: 0,
  attestation: 5,
  hold: 500,
};

const stored = (statement: Ticket | Evidence | Verdict) => encodeStored(signPayload(KEY, statementBytes(statement)));

const { ticket, evidence, verdict } = documents(1);
const priced: Ticket = { ...ticket, predicate: { ...ticket.predicate, price: PRICE } };

const CELLS = {
  tenant: 'acme',
  model: 'kjv',
  key: 'k1' as string | null,
  created: String(CREATED_MS),
  hold: '500' as string | null,
  webhook: null as string | null,
  state: 'done',
  ended: String(ENDED_MS),
  claimed: `w-1 token ${ENDED_MS - 800}` as string | null,
  evidence: stored(evidence) as string | null,
  ticket: stored(priced) as string | null,
  verdict: stored(verdict) as string | null,
  payment: null as string | null,
};
const row = (change: Partial<typeof CELLS> = {}): OutcomeRow => Object.values({ ...CELLS, ...change });

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
  test('that is done is charged what its receipt comes to, in the month in which it was made', () => {
    const { end, durationMs } = outcomeOf(row(), 9);
    const charge = chargeOf(priced.predicate, evidence.predicate, verdict.predicate);
    expect(charge).toBe(2 + 10 + 5);
    expect(end).toMatchObject({
      score: 9,
      day: '2026-12-01',
      month: '2026-11',
      usage: {
        'k1 kjv jobs': 1,
        'k1 kjv done': 1,
        'k1 kjv input_tokens': 2,
        'k1 kjv output_tokens': 1,
        'k1 kjv charged': charge,
      },
      ledger: { kind: 'charge', hold: 500, charge, key: 'k1' },
    });
    expect(JSON.parse(end.ledger?.entry ?? '')).toMatchObject({ amount: charge, currency: 'USD', table: 'v1' });
    expect(durationMs).toBe(800);
  });

  test.each(['rejected', 'failed', 'cancelled', 'expired'])('that is %s releases all that was held', (state) => {
    const { end, durationMs } = outcomeOf(row({ state, evidence: null, verdict: null, claimed: null }), 9);
    expect(end.usage).toEqual({ 'k1 kjv jobs': 1 });
    expect(end.ledger).toMatchObject({ kind: 'release', hold: 500, charge: 0 });
    expect(JSON.parse(end.ledger?.entry ?? '')).toMatchObject({ amount: 500 });
    expect(durationMs).toBeUndefined();
  });

  test('without a price has usage and no ledger, also where no key is known', () => {
    const { end } = outcomeOf(row({ ticket: null, verdict: null, hold: null, key: null }), 9);
    expect(end.ledger).toBeUndefined();
    expect(end.usage).toMatchObject({ '- kjv jobs': 1, '- kjv output_tokens': 1 });
    expect(Object.keys(end.usage)).not.toContain('- kjv charged');
  });

  test('whose documents do not have their form is counted, and costs nothing', () => {
    const { end } = outcomeOf(row({ verdict: stored(evidence) }), 9);
    expect(end.usage['k1 kjv jobs']).toBe(1);
    expect(end.ledger).toMatchObject({ kind: 'charge', charge: 0 });
  });

  test('whose documents are gone leaves nothing but its place', () => {
    expect(emptyEnd(9)).toMatchObject({ score: 9, usage: {} });
    expect(emptyEnd(9).ledger).toBeUndefined();
  });
});

describe("a payment of a job's own", () => {
  const payment = (change: Partial<typeof CELLS>) => outcomeOf(row(change), 9).end.payment;

  test('is due for what a done job costs, in units of its token', () => {
    const due = payment({ payment: held('3') });
    expect(due).toMatchObject({ state: 'due', payer: '0xpayer', until: '17', payload: '{"signed":true}' });
    expect(JSON.parse(due?.['requirements'] ?? '')).toMatchObject({ scheme: 'upto', amount: String(17 * 3) });
  });

  test('is released when the job is not done, and keeps no authorization', () => {
    const released = payment({ payment: held('3'), state: 'failed', verdict: null });
    expect(released).toMatchObject({ state: 'released', payer: '0xpayer' });
    expect(released).not.toHaveProperty('payload');
  });

  test('of a done job that costs nothing is settled without being asked for', () => {
    expect(payment({ payment: held('3'), ticket: null })).toMatchObject({ state: 'settled' });
  });

  test('that is damaged is an error, and not a free answer', () => {
    expect(() => payment({ payment: '{}' })).toThrow();
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { documents, newKey } from '../../../test/support/sample-receipts.ts';
import { Equipment } from '../attestation/methods/equipment.ts';
import { Attempt } from '../attestation/methods/attempt.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { STATEMENTS, Verdict, statementBytes, type Price } from '../../proof/receipts/statements.ts';
import { signVerdict } from './verdict.ts';

const PRICE: Price = {
  table: { id: 't', sha256: 'a'.repeat(64) },
  currency: 'EUR',
  input: 0,
  output: 0,
  second: 1,
  attestation: 0,
  hold: 1_000_000,
};
const FOUND = { refusals: [], properties: new Set<string>(), notChecked: new Set<string>(), grounds: {} };
const key = newKey();

/**
 * The verdict on an attempt whose worker signed that it took so long (ms), and that Redis saw for so long.
 */
function verdictOn(signedMs: number, heldMs: number, price?: Price, createdAt?: string): Verdict['predicate'] {
  const all = documents(1);
  if (createdAt !== undefined) all.ticket.predicate.createdAt = createdAt;
  const { predicate } = all.evidence;
  all.evidence.predicate = {
    ...predicate,
    finishedAt: new Date(Date.parse(predicate.startedAt) + signedMs).toISOString(),
  };
  if (price !== undefined) all.ticket.predicate.price = price;
  const nothing = () => Promise.resolve(undefined);
  const attempt = new Attempt({
    job: all.ticket.predicate.job,
    epoch: 1,
    ticket: all.ticket,
    ticketSigned: signPayload(key, statementBytes(all.ticket)),
    claimant: predicate.worker.id,
    statement: { kind: 'stored', text: encodeStored(signPayload(key, statementBytes(all.evidence))) },
    heldMs,
    isMeasured: true,
    apiKey: undefined,
    equipment: new Equipment({ engines: new Map(), calibrations: new Map(), hardware: undefined, auditShare: 0 }),
    keyOf: () => 'WORKER_UNKNOWN',
    operatorOf: () => undefined,
    mayServe: () => true,
    isDrawn: () => false,
    readInput: () => Promise.resolve(''),
    readOutput: nothing,
    readTokens: nothing,
    readVotes: () => Promise.resolve([]),
  });
  const found = { ...FOUND, measured: { recompute: { promisedShare: 0, drawn: false } } };
  return Verdict.parse(JSON.parse(signVerdict(key, STATEMENTS, attempt, found).payload.toString())).predicate;
}

describe('the time that a verdict charges', () => {
  test('is what the worker signed, and never more than from the begin to the commit by the clock of Redis', () => {
    const ms = fc.integer({ min: 0, max: 86_400_000 });
    fc.assert(
      fc.property(ms, ms, (signedMs, heldMs) => {
        expect(verdictOn(signedMs, heldMs, PRICE).ranMs).toBe(Math.min(signedMs, heldMs));
      }),
      { numRuns: 30 },
    );
  });

  test('stands in it only where a second has a price', () => {
    expect(verdictOn(5, 5)).not.toHaveProperty('ranMs');
    expect(verdictOn(5, 5, { ...PRICE, second: 0 })).not.toHaveProperty('ranMs');
  });
});

test('a verdict is never dated before its ticket, whose API may be ahead of this machine', () => {
  const [ahead, behind] = [3_600_000, -3_600_000].map((ms) => new Date(Date.now() + ms).toISOString());
  expect(verdictOn(5, 5, undefined, ahead).timeCreated).toBe(ahead);
  expect(Date.parse(verdictOn(5, 5, undefined, behind).timeCreated)).toBeGreaterThan(Date.parse(behind ?? ''));
});

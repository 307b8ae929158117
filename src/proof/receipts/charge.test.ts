import { describe, expect, test } from '@jest/globals';
import { documents } from '../../../test/support/sample-receipts.ts';
import { chargeOf } from './charge.ts';
import type { Price } from './statements.ts';

const { ticket, evidence, verdict } = documents(0);
const PRICE: Price = {
  table: { id: 't', sha256: 'a'.repeat(64) },
  currency: 'EUR',
  input: 1_000_000,
  output: 3_000_000,
  second: 0,
  attestation: 5,
  hold: 1_000,
};
const charge = (price: Partial<Price>, more: object = {}) =>
  chargeOf(
    { ...ticket.predicate, price: { ...PRICE, ...price } },
    { ...evidence.predicate, usage: { inputTokens: 2, outputTokens: 1 } },
    { ...verdict.predicate, ...more },
  );

describe('chargeOf', () => {
  test('tokens at their price, and the promised methods once', () => {
    expect(charge({})).toBe(2 + 3 + 5);
    expect(charge({ input: 1 })).toBe(9);
  });

  test('every vote of a quorum is a run that is paid', () => {
    const vote = { epoch: 1, worker: 'w', operator: 'o', evidence: { sha256: '' } };
    expect(charge({}, { quorum: { of: 3, agree: 2, votes: [vote, vote] } })).toBe(2 * 5 + 5);
  });

  test('the attestor counted less: that is paid, and never more than was held', () => {
    expect(charge({}, { usage: { inputTokens: 2, outputTokens: 0 } })).toBe(7);
    expect([charge({ hold: 8 }), charge({ fixed: true })]).toEqual([8, 1_000]);
    expect(chargeOf(ticket.predicate, evidence.predicate, verdict.predicate)).toBe(0);
  });
});

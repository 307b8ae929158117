import { describe, expect, test } from '@jest/globals';
import { documents, refusal, signed } from '../../../test/support/sample-receipts.ts';
import { chargeOf } from './charge.ts';
import type { Evidence, Price, Ticket, Verdict } from './statements.ts';

const [DIGEST, AT] = [{ sha256: 'a'.repeat(64) }, '2026-01-01T00:00:00.000Z'];
const JOB = 'job_p0010123456789abcdefghjkmnpqrs';
const ticket: Ticket['predicate'] = {
  job: JOB,
  tenant: 't',
  pool: 'default',
  model: { name: 'm', ...DIGEST },
  task: 'completion',
  params: { max_tokens: 1, temperature: 0, top_p: 1, seed: 1, stop: [] },
  inputBytes: 0,
  policy: { recompute: 0 },
  attempts: 1,
  createdAt: AT,
  deadline: AT,
  nonce: '',
};
const evidence: Evidence['predicate'] = {
  job: JOB,
  ticket: DIGEST,
  epoch: 1,
  worker: { id: 'w', publicKey: '' },
  model: { name: 'm', ...DIGEST, measured: true },
  engine: { name: 'e', version: '1', ...DIGEST },
  outputBytes: 1,
  usage: { inputTokens: 2, outputTokens: 1 },
  finishReason: 'stop',
  startedAt: AT,
  finishedAt: AT,
};
const verdict: Verdict['predicate'] = {
  verifier: { id: '', policies: [{ uri: 'urn:countersign:policy:v1', digest: DIGEST }] },
  timeCreated: AT,
  properties: [],
  job: JOB,
  epoch: 1,
  ticket: DIGEST,
  decision: 'confirmed',
  recompute: { promisedShare: 0, drawn: false },
  notChecked: [],
  refusals: [],
};
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
  chargeOf({ ...ticket, price: { ...PRICE, ...price } }, evidence, { ...verdict, ...more });

describe('chargeOf', () => {
  test('tokens at their price, and the promised methods once', () => {
    expect(charge({})).toBe(2 + 3 + 5);
    expect(charge({ input: 1 })).toBe(9);
  });

  test('every vote of a quorum is a run that is paid', () => {
    const vote = { epoch: 1, worker: 'w', operator: 'o', evidence: { sha256: '' } };
    expect(charge({}, { quorum: { of: 3, agree: 2, votes: [vote, vote] } })).toBe(2 * 5 + 5);
  });

  test('seconds are those that the worker signed, and no more than the verdict allows', () => {
    const price: Price = { ...PRICE, input: 0, output: 0, second: 1_000, attestation: 0, hold: 1_000_000 };
    const ran = { ...evidence, finishedAt: '2026-01-01T00:00:09.500Z' };
    const charged = (more: object) => chargeOf({ ...ticket, price }, ran, { ...verdict, ...more });
    expect([charged({}), charged({ ranMs: 2_000 }), charged({ ranMs: 60_000 })]).toEqual([9_500, 2_000, 9_500]);
  });

  test('a receipt whose verdict charges for a longer time than the evidence names is refused', () => {
    const timed = (ranMs: number) => {
      const all = documents(1);
      const { recompute, notChecked, refusals, ...rest } = all.verdict.predicate;
      all.verdict.predicate = { ...rest, ranMs, recompute, notChecked, refusals };
      return signed(all);
    };
    expect(refusal(timed(1))).toBe('mismatch');
    expect(refusal(timed(0))).toBe('verified');
  });

  test('the attestor counted less: that is paid, and never more than was held', () => {
    expect(charge({}, { usage: { inputTokens: 2, outputTokens: 0 } })).toBe(7);
    expect([charge({ hold: 8 }), charge({ fixed: true })]).toEqual([8, 1_000]);
    expect(chargeOf(ticket, evidence, verdict)).toBe(0);
  });
});

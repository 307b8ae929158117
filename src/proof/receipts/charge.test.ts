import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { chargeOf, runPrice } from './charge.ts';
import type { Evidence, Price, Ticket, Verdict } from './statements.ts';

const JOB = 'job_0123456789abcdefghjkmnpqrs';
const SHA = { sha256: '0'.repeat(64) };
const START = Date.parse('2026-01-01T00:00:00.000Z');
const worker = { id: `w-${'0'.repeat(32)}`, publicKey: '' };

const aPrice = (prices: Partial<Price>): Price => ({
  table: { id: 't', ...SHA },
  currency: 'USD',
  input: 0,
  output: 0,
  second: 0,
  attestation: 0,
  hold: 1_000_000,
  ...prices,
});
const aTicket = (price: Price | undefined): Ticket['predicate'] => ({
  job: JOB,
  tenant: 'acme',
  pool: 'default',
  model: { name: 'm', ...SHA },
  task: 'chat',
  params: { max_tokens: 1, temperature: 0, top_p: 1, seed: 0, stop: [] },
  inputBytes: 1,
  policy: { recompute: 0 },
  attempts: 1,
  ...(price === undefined ? {} : { price }),
  createdAt: new Date(START).toISOString(),
  deadline: new Date(START).toISOString(),
  nonce: 'A'.repeat(43),
});
const anEvidence = (inputTokens: number, outputTokens: number, runMs = 0): Evidence['predicate'] => ({
  job: JOB,
  ticket: SHA,
  epoch: 1,
  worker,
  model: { name: 'm', ...SHA, measured: true },
  engine: { name: 'e', version: '1', ...SHA },
  outputBytes: 1,
  usage: { inputTokens, outputTokens },
  finishReason: 'stop',
  startedAt: new Date(START).toISOString(),
  finishedAt: new Date(START + runMs).toISOString(),
});
const aVerdict = (more: Partial<Verdict['predicate']> = {}): Verdict['predicate'] => ({
  verifier: { id: 'v', policies: [{ uri: 'urn:countersign:policy:v1', digest: SHA }] },
  timeCreated: new Date(START).toISOString(),
  properties: [],
  job: JOB,
  epoch: 1,
  ticket: SHA,
  decision: 'confirmed',
  recompute: { promisedShare: 0, drawn: false },
  notChecked: [],
  refusals: [],
  ...more,
});
const voted = (count: number) =>
  aVerdict({
    quorum: {
      of: count,
      agree: count,
      votes: Array.from({ length: count }, (_, at) => ({
        epoch: at + 1,
        worker: worker.id,
        operator: `o${at}`,
        evidence: SHA,
      })),
    },
  });

const anAmount = fc.integer({ min: 0, max: 1_000_000 });

describe('the charge for a job', () => {
  test('is a whole number between nothing and what the ticket holds, whatever was used', () => {
    fc.assert(
      fc.property(anAmount, anAmount, anAmount, anAmount, anAmount, (input, output, second, hold, used) => {
        const price = aPrice({ input, output, second, hold });
        const charge = chargeOf(aTicket(price), anEvidence(used, used, used), aVerdict());
        expect(Number.isSafeInteger(charge) && charge >= 0 && charge <= hold).toBe(true);
      }),
    );
  });

  test('counts tokens by the million, the seconds of the worker, and what attestation costs', () => {
    const price = aPrice({ input: 1_000, output: 2_000, second: 10, attestation: 7 });
    expect(chargeOf(aTicket(price), anEvidence(1_000_000, 500_000, 1_500), aVerdict())).toBe(1_000 + 1_000 + 15 + 7);
  });

  test('is rounded up once, and not for each part', () => {
    const price = aPrice({ input: 300_000, output: 300_000 });
    expect(chargeOf(aTicket(price), anEvidence(1, 1), aVerdict())).toBe(1);
  });

  test('is for every vote of a quorum, and for attestation once', () => {
    const price = aPrice({ output: 1_000_000, attestation: 5 });
    expect(chargeOf(aTicket(price), anEvidence(0, 10), voted(3))).toBe(35);
  });

  test('goes by what the attestor counted, where it counted', () => {
    const price = aPrice({ output: 1_000_000 });
    const recounted = aVerdict({ usage: { inputTokens: 0, outputTokens: 4 } });
    expect(chargeOf(aTicket(price), anEvidence(0, 9), recounted)).toBe(4);
  });

  test('is all that is held where the price is fixed, and nothing where there is none', () => {
    expect(chargeOf(aTicket(aPrice({ fixed: true, hold: 42 })), anEvidence(0, 0), aVerdict())).toBe(42);
    expect(chargeOf(aTicket(undefined), anEvidence(9, 9, 9), aVerdict())).toBe(0);
  });
});

test('the price of a run is not rounded', () => {
  expect(runPrice({ input: 1, output: 0, second: 0 }, 500_000, 0, 0)).toBe(0.5);
});

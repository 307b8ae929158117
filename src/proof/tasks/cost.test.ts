import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TASKS, type Ticket } from '../receipts/statements.ts';
import { costOf } from './cost.ts';

type Predicate = Ticket['predicate'];

const aTicket = (task: Predicate['task'], maxTokens: number, inputBytes: number): Predicate => ({
  job: 'job_0123456789abcdefghjkmnpqrs',
  tenant: 'acme',
  pool: 'default',
  model: { name: 'm', sha256: '0'.repeat(64) },
  task,
  params: { max_tokens: maxTokens, temperature: 0, top_p: 1, seed: 0, stop: [] },
  inputBytes,
  policy: { recompute: 0 },
  attempts: 1,
  createdAt: '2026-01-01T00:00:00.000Z',
  deadline: '2026-01-01T00:01:00.000Z',
  nonce: 'A'.repeat(43),
});
const aCount = fc.integer({ min: 1, max: 4 * 1_048_576 });

describe('the cost of a job', () => {
  test('is a whole number, at least 1, and never falls when more is asked', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TASKS), aCount, aCount, aCount, (task, tokens, bytes, more) => {
        const cost = costOf(aTicket(task, tokens, bytes));
        expect(Number.isSafeInteger(cost) && cost >= 1).toBe(true);
        expect(costOf(aTicket(task, tokens + more, bytes))).toBeGreaterThanOrEqual(cost);
        expect(costOf(aTicket(task, tokens, bytes + more))).toBeGreaterThanOrEqual(cost);
      }),
    );
  });

  test.each([
    ['64 generated tokens', aTicket('chat', 64, 0), 1],
    ['one token more', aTicket('chat', 65, 0), 2],
    ['a prompt of 2,560 bytes and nothing generated', aTicket('embedding', 131_072, 2_560), 1],
    ['a prompt of 25,600 bytes with 64 tokens', aTicket('completion', 64, 25_600), 11],
  ])('counts %s', (_, ticket, cost) => {
    expect(costOf(ticket)).toBe(cost);
  });
});

import { describe, expect, test } from '@jest/globals';
import type { Ticket } from '../receipts/statements.ts';
import { costOf } from './cost.ts';

describe('costOf', () => {
  const ticket: Ticket['predicate'] = {
    job: 'job_q8e10123456789abcdefghjkmnpqrs',
    tenant: 't',
    pool: 'default',
    model: { name: 'm', sha256: 'a'.repeat(64) },
    task: 'completion',
    params: { max_tokens: 1, temperature: 0, top_p: 1, seed: 1, stop: [] },
    inputBytes: 0,
    policy: { recompute: 0 },
    attempts: 1,
    createdAt: '',
    deadline: '',
    nonce: '',
  };
  const cost = (task: 'completion' | 'embedding', max_tokens: number, inputBytes: number) =>
    costOf({ ...ticket, task, params: { ...ticket.params, max_tokens }, inputBytes });

  test('the smallest job costs one unit, and 64 generated tokens are one', () => {
    expect([cost('completion', 1, 0), cost('completion', 64, 0), cost('completion', 65, 0)]).toEqual([1, 1, 2]);
  });

  test('a prompt costs a tenth of what it would as an answer', () => {
    expect(cost('completion', 64, 40 * 64)).toBe(2);
  });

  test('an embedding generates nothing: only its input counts', () => {
    expect(cost('embedding', 131_072, 40 * 64 * 3)).toBe(3);
  });
});

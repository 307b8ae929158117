import { describe, expect, test } from '@jest/globals';
import type { Params } from '../receipts/statements.ts';
import { documents } from '../../../test/support/sample-receipts.ts';
import { costOf } from './cost.ts';

describe('costOf', () => {
  const cost = (task: 'completion' | 'embedding', max_tokens: number, inputBytes: number) => {
    const { ticket } = documents(0);
    const params: Params = { ...ticket.predicate.params, max_tokens };
    return costOf({ ...ticket.predicate, task, params, inputBytes });
  };

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

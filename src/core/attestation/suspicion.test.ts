import { describe, expect, test } from '@jest/globals';
import { QUARANTINE_AT, suspicionAfter } from './suspicion.ts';

const after = (flags: readonly boolean[]) => flags.reduce(suspicionAfter, 0);
const run = (count: number, isFlagged: boolean) => Array.from({ length: count }, () => isFlagged);

describe('suspicionAfter', () => {
  test('one flag is never enough, and six in a row are', () => {
    expect(after([true])).toBeLessThan(QUARANTINE_AT);
    expect(after(run(5, true))).toBeLessThan(QUARANTINE_AT);
    expect(after(run(6, true))).toBeGreaterThanOrEqual(QUARANTINE_AT);
  });

  test('a long honest past hides nothing: the score does not fall below 0', () => {
    expect(after(run(10_000, false))).toBe(0);
    expect(after([...run(10_000, false), ...run(6, true)])).toBe(after(run(6, true)));
  });

  test('checks that hold take off what a flag added', () => {
    expect(after([true, ...run(60, false)])).toBe(0);
  });
});

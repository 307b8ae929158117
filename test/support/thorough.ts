import { randomInt } from 'node:crypto';
import { test } from '@jest/globals';

/** Whether this is `npm run test:long`: then what is drawn or repeated is so in full, and not as a sample. */
export const IS_LONG = process.env['COUNTERSIGN_TEST_LONG'] === '1';
/** Whether it is that or `npm run test:whole`, which every submission passes: `npm test` takes minutes. */
export const IS_WHOLE = IS_LONG || process.env['COUNTERSIGN_TEST_WHOLE'] === '1';

/** A test that takes long and whose kind another one holds in short: only `npm run test:long` runs it. */
export const longTest = IS_LONG ? test : test.skip;

/** A test that takes seconds and whose kind a shorter one touches: `npm test` leaves it out. */
export const wholeTest = IS_WHOLE ? test : test.skip;

/**
 * Every so-manyth of these cases, from one on that each run draws anew; all of them in `npm run test:long`.
 * Whoever sweeps rows of such samples gives the number of the row, so that every case is in some of them. A
 * test that uses it names the case that failed.
 */
export function sampleOf<T>(cases: readonly T[], every: number, row = 0): readonly T[] {
  return IS_LONG ? cases : cases.filter((_, at) => (at + row + FIRST) % every === 0);
}
const FIRST = randomInt(1_000);

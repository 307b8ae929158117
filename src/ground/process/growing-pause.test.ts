import { expect, test } from '@jest/globals';
import { growingPause } from './growing-pause.ts';

test('pauses double from a second to a minute, and stay there', () => {
  expect([1, 2, 3, 6, 7, 8, 10_000].map(growingPause)).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000, 60_000]);
});

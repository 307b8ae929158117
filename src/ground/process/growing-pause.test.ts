import { expect, test } from '@jest/globals';
import { RestartPauses, growingPause } from './growing-pause.ts';

test('pauses double from a second to a minute, and stay there', () => {
  expect([1, 2, 3, 6, 7, 8, 10_000].map(growingPause)).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000, 60_000]);
});

test('what has stood for a while begins with the shortest pause again', () => {
  const pauses = new RestartPauses();
  expect([10, 10, 59_999, 60_000, 10].map((stoodMs) => pauses.after(stoodMs))).toEqual([
    1_000, 2_000, 4_000, 1_000, 2_000,
  ]);
});

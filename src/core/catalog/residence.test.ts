import { expect, test } from '@jest/globals';
import { residenceOf } from './residence.ts';

const cold = (coldMs: number) => ({ loaded: false, coldMs, slots: 2 });

test.each([
  ['nobody serves it', [], { loaded: 0, slots: 0, coldMs: 0 }],
  [
    'of workers that hold all their models nobody waits for a load',
    [{}, { slots: 4 }],
    { loaded: 2, slots: 5, coldMs: 0 },
  ],
  [
    'where one has it loaded, the others do not count',
    [cold(9), { ...cold(9), loaded: true }],
    { loaded: 1, slots: 2, coldMs: 0 },
  ],
  ['where none has, a job waits for the shortest load', [cold(900), cold(400)], { loaded: 0, slots: 4, coldMs: 400 }],
])('%s', (_, said, expected) => {
  expect(residenceOf(said, 1)).toEqual(expected);
});

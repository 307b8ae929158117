import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lookedAt, NO_GAP, withEnded, type SlotGap } from './slot-gap.ts';

/** Ten slots whose jobs take 100 ms, and so much more until the next one runs, for so many seconds. */
function looked(gapMs: number, waiting: number, seconds = 20, from: SlotGap = NO_GAP): SlotGap {
  let gap = lookedAt(from, { atMs: from.atMs + 250, waiting, slots: 10 });
  let left = 0;
  for (let at = 0; at < seconds * 4; at += 1) {
    left += (10 * 250) / (100 + gapMs);
    for (; left >= 1; left -= 1) gap = withEnded(gap, 100);
    gap = lookedAt(gap, { atMs: gap.atMs + 250, waiting, slots: 10 });
  }
  return gap;
}

test('what slots do nothing for between two jobs is learned while as many wait as end', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 26, max: 1_000 }), (gapMs, waiting) => {
      expect(Math.abs(looked(gapMs, waiting).ms - gapMs)).toBeLessThan(0.05 * (100 + gapMs));
    }),
  );
});

test('nothing is learned where slots can have been idle for want of work, and what was learned stays', () => {
  expect(looked(300, 5).ms).toBe(0);
  expect(looked(900, 1, 20, looked(50, 500)).ms).toBe(looked(50, 500).ms);
});

test('what was not looked at for long says nothing, nor does a queue without slots', () => {
  const before = looked(50, 500);
  const ended = withEnded(before, 100);
  expect(lookedAt(ended, { atMs: before.atMs + 60_000, waiting: 500, slots: 10 })).toMatchObject({
    ms: before.ms,
    slotMs: before.slotMs,
    ended: 0,
  });
  expect(lookedAt(ended, { atMs: before.atMs + 250, waiting: 500, slots: 0 })).toMatchObject({ slotMs: before.slotMs });
  // Another attestor has looked since.
  expect(lookedAt(ended, { atMs: before.atMs - 1, waiting: 500, slots: 10 })).toEqual(ended);
});

test('it follows a change, and what a slot is taken for by a job is never less than the job', () => {
  expect(looked(10, 500, 40, looked(300, 500)).ms).toBeLessThan(20);
});

import { describe, expect, test } from '@jest/globals';
import { newKey } from '../../../test/support/sample-receipts.ts';
import { newJobId } from '../jobs/job-id.ts';
import { AuditDraws } from './audit-draws.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 0, 15);
const JOBS = 6_000;

/** Attempts at jobs of three days: with an id and an epoch each. */
const ATTEMPTS = Array.from({ length: JOBS }, (_, at) => {
  const createdMs = NOW + (at % 3) * DAY + at;
  return { id: newJobId('default', createdMs), epoch: 1 + (at % 2), createdMs };
});

const drawnOf = (draws: AuditDraws, share: number, label = 'recompute') =>
  ATTEMPTS.map(({ id, epoch, createdMs }) => draws.isDrawn(label, share, id, epoch, createdMs));

const count = (drawn: readonly boolean[]) => drawn.filter(Boolean).length;

/** Six standard deviations: a fair draw is farther off once in 500 million times. */
const tolerance = (share: number, of: number) => 6 * Math.sqrt(of * share * (1 - share));

describe('two attestors of one log', () => {
  // They sign verdicts with keys of their own; what they draw by is the key of the log that they share.
  const logKey = newKey();
  const [one, other] = [new AuditDraws(logKey), new AuditDraws(logKey)];

  test.each([0.01, 0.1, 0.5, 0.9])('draw %f of all attempts, whichever of them looks at which', (share) => {
    const [first, second] = [drawnOf(one, share), drawnOf(other, share)];
    expect(second).toEqual(first);
    // However the attempts fall to them, and where both look at one, the share of all is the promised one.
    for (const fallsToFirst of [(at: number) => at % 2 === 0, (at: number) => at % 7 < 2, (at: number) => at < 1_500]) {
      const drawn = first.map((isDrawn, at) => (fallsToFirst(at) ? isDrawn : (second[at] ?? false)));
      expect(Math.abs(count(drawn) - JOBS * share)).toBeLessThan(tolerance(share, JOBS));
    }
  });

  test('draw an attempt once: asked again, by either, at any time, in any order, the answer is the same', () => {
    const asked = [...ATTEMPTS.slice(0, 500)].reverse();
    const answers = asked.map(({ id, epoch, createdMs }) => other.isDrawn('recompute', 0.3, id, epoch, createdMs));
    expect(answers.reverse()).toEqual(drawnOf(one, 0.3).slice(0, 500));
    // What is drawn for a share is drawn for every larger one: two promises do not add up to two looks.
    const [less, more] = [drawnOf(one, 0.2), drawnOf(other, 0.4)];
    expect(less.every((isDrawn, at) => !isDrawn || more[at] === true)).toBe(true);
  });

  test('draw epochs, methods and days independently of each other', () => {
    const share = 0.5;
    const again = ATTEMPTS.map(({ id, epoch, createdMs }) =>
      other.isDrawn('recompute', share, id, epoch + 1, createdMs),
    );
    for (const [first, second] of [
      [drawnOf(one, share), again],
      [drawnOf(one, share), drawnOf(other, share, 'tokens')],
    ] as const) {
      const both = first.filter((isDrawn, at) => isDrawn && second[at] === true).length;
      expect(Math.abs(both - JOBS * share * share)).toBeLessThan(tolerance(share * share, JOBS));
    }
  });
});

test('attestors that did not share the key of the log would keep no promise together: each would draw its own', () => {
  const [one, stranger] = [new AuditDraws(newKey()), new AuditDraws(newKey())];
  const [first, second] = [drawnOf(one, 0.1), drawnOf(stranger, 0.1)];
  const either = first.filter((isDrawn, at) => isDrawn || second[at] === true).length;
  expect(either).toBeGreaterThan(JOBS * 0.1 + tolerance(0.1, JOBS));
});

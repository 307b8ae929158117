import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { DEFAULTS, LONGEST_DEADLINE_MS, SHORTEST_DEADLINE_MS } from '../../proof/contract/submit-job.ts';
import { jobTimes, type JobTimes } from './job-times.ts';

const NOW = 1_800_000_000_000;
const DAY = LONGEST_DEADLINE_MS;

/** The times, or the code of the refusal. */
function timesOf(notBeforeMs: number | undefined, deadline_ms: number | undefined, nowMs = NOW): JobTimes | string {
  const not_before = notBeforeMs === undefined ? undefined : new Date(notBeforeMs).toISOString();
  try {
    return jobTimes({ not_before, deadline_ms }, nowMs);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return `${error.code} ${error.param ?? ''}`;
  }
}

describe('the times of a job', () => {
  const times = fc.option(fc.integer({ min: NOW - 2 * DAY, max: NOW + 2 * DAY }), { nil: undefined });
  const deadlines = fc.option(fc.integer({ min: SHORTEST_DEADLINE_MS, max: DAY }), { nil: undefined });

  test('leave at least a second, or are refused by the name of the member; what was good stays good', () => {
    fc.assert(
      fc.property(times, deadlines, fc.integer({ min: 0, max: DAY }), (notBeforeMs, deadline, laterMs) => {
        const found = timesOf(notBeforeMs, deadline);
        const firstMs = Math.max(NOW, notBeforeMs ?? NOW);
        if (typeof found === 'string') {
          expect(found).toBe('request_invalid not_before');
          expect(firstMs).toBeGreaterThan(NOW + (deadline ?? DAY) - SHORTEST_DEADLINE_MS);
          return;
        }
        expect(found.notBeforeMs ?? NOW).toBe(firstMs);
        expect(found.deadlineMs - firstMs).toBeGreaterThanOrEqual(SHORTEST_DEADLINE_MS);
        expect(found.deadlineMs - NOW).toBeLessThanOrEqual(DAY);
        if (deadline !== undefined) expect(found.deadlineMs).toBe(NOW + deadline);
        expect(typeof timesOf(notBeforeMs, deadline, NOW + laterMs)).toBe('object');
      }),
    );
  });

  test('without a deadline are ten minutes from when it may begin', () => {
    expect(timesOf(undefined, undefined)).toEqual({ deadlineMs: NOW + DEFAULTS.deadlineMs, notBeforeMs: undefined });
    expect(timesOf(NOW + 3_600_000, undefined)).toEqual({
      deadlineMs: NOW + 3_600_000 + DEFAULTS.deadlineMs,
      notBeforeMs: NOW + 3_600_000,
    });
    expect(timesOf(NOW + DAY - 1_000, undefined)).toMatchObject({ deadlineMs: NOW + DAY });
    expect(timesOf(NOW - 1, 1_000)).toEqual({ deadlineMs: NOW + 1_000, notBeforeMs: undefined });
  });
});

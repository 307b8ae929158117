import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PassedJobs, type Asking } from './passed-jobs.ts';

const NOW = 1_790_000_000_000;
const DAY = 86_400_000;
const asking = (more: Partial<Asking> = {}): Asking => ({ sentMs: NOW, identity: 'a', isKeyed: false, ...more });

function isTaken(jobs: PassedJobs, job: string, createdMs: number, by: Asking, nowMs = NOW): boolean {
  try {
    jobs.pass(job, createdMs, by, nowMs);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'unverified_answer', reason: 'not_fresh' });
    return false;
  }
}

describe('a job that is to answer a request', () => {
  test('is made after the request was sent, and not in the future, with a minute for clocks that differ', () => {
    const isFresh = (createdMs: number) => isTaken(new PassedJobs(), 'j', createdMs, asking());
    expect([-60_001, -60_000, 0, 60_000, 60_001].map((ms) => isFresh(NOW + ms))).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
  });

  test('is as fresh as the clocks allow that the operator of the proxy expects', () => {
    const isFresh = (createdMs: number, graceMs: number) =>
      isTaken(new PassedJobs({ graceMs }), 'j', createdMs, asking());
    for (const graceMs of [0, 1_000, 900_000])
      expect([-graceMs - 1, -graceMs, graceMs, graceMs + 1].map((ms) => isFresh(NOW + ms, graceMs))).toEqual([
        false,
        true,
        true,
        false,
      ]);
  });

  test('may be of the last day under an Idempotency-Key', () => {
    const isFresh = (createdMs: number) => isTaken(new PassedJobs(), 'j', createdMs, asking({ isKeyed: true }));
    expect([-DAY - 60_001, -DAY - 60_000, 0].map((ms) => isFresh(NOW + ms))).toEqual([false, true, true]);
  });

  test('answers one request alone, and that one as often as it is asked', () => {
    const jobs = new PassedJobs();
    expect(['a', 'a', 'b', 'a'].map((identity) => isTaken(jobs, 'j', NOW, asking({ identity })))).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });

  test('never answers two, whatever else has passed, and however little can be remembered', () => {
    const pass = fc.record({
      job: fc.integer({ min: 0, max: 9 }).map(String),
      identity: fc.constantFrom('a', 'b', 'c'),
      isKeyed: fc.boolean(),
      laterMs: fc.integer({ min: 0, max: 40_000 }),
    });
    fc.assert(
      fc.property(fc.array(pass, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (passes, most) => {
        const jobs = new PassedJobs({ most });
        const answered = new Map<string, string>();
        let nowMs = NOW;
        for (const { job, identity, isKeyed, laterMs } of passes) {
          nowMs += laterMs;
          // Each job has one time, by its ticket.
          const createdMs = NOW + Number(job) * 20_000;
          if (!isTaken(jobs, job, createdMs, { sentMs: nowMs, identity, isKeyed }, nowMs)) continue;
          expect(answered.get(job) ?? identity).toBe(identity);
          answered.set(job, identity);
        }
      }),
    );
  });
});

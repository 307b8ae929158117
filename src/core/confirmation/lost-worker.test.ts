import { describe, expect, test } from '@jest/globals';
import type { Attempt } from '../jobs/job-state.ts';
import { lostWorker } from './lost-worker.ts';

const attempt = (epoch: number, why?: 'lost' | 'void' | 'released' | 'refuted'): Attempt => ({
  epoch,
  worker: `w-${epoch}`,
  claimedMs: 1,
  beganMs: 1,
  committedMs: undefined,
  closed: why && { why, atMs: 2, detail: '' },
});
const lost = (mostLost: number, ...before: ('lost' | 'void' | 'released' | 'refuted')[]) => {
  const attempts = [...before.map((why, at) => attempt(at + 1, why)), attempt(before.length + 1)];
  const { action, code } = lostWorker({ id: 'job', currentEpoch: attempts.length, attempts }, mostLost);
  return { code, isLast: action.kind === 'lost' && action.isLast === true };
};

describe('a job whose worker is lost', () => {
  test('is given to another until as many were lost as are allowed, whatever else came of its attempts', () => {
    expect(lost(2)).toEqual({ code: 'attempts_exhausted', isLast: false });
    expect(lost(2, 'void', 'released', 'refuted')).toEqual({ code: 'attempts_exhausted', isLast: false });
    expect(lost(2, 'lost')).toEqual({ code: 'workers_lost', isLast: true });
    expect(lost(3, 'lost', 'void')).toEqual({ code: 'attempts_exhausted', isLast: false });
    expect(lost(3, 'lost', 'void', 'lost')).toEqual({ code: 'workers_lost', isLast: true });
    expect(lost(1)).toEqual({ code: 'workers_lost', isLast: true });
  });
});

import type { CaseFile } from './case-file.ts';
import type { Ruling } from './rulings.ts';

/** As many workers may be lost while they run one job: it is given to no other then. */
export const MOST_LOST = 2;

/**
 * The attempt of a worker whose lease has run out before it committed anything. A job that takes worker after
 * worker with it, whose engine it kills or hangs, ends after `mostLost` of them, whatever attempts it has
 * left. Only runs count: who held the job ready was not harmed by it, and nothing is held against any worker.
 */
export function lostWorker(file: Pick<CaseFile, 'id' | 'currentEpoch' | 'attempts'>, mostLost: number): Ruling {
  const before = file.attempts.filter(
    ({ epoch, closed }) => epoch < file.currentEpoch && closed?.why === 'lost',
  ).length;
  const about = {
    id: file.id,
    epoch: file.currentEpoch,
    // `attesting` where another worker has entered a commit in its place.
    phases: ['ready', 'running', 'attesting'],
  } as const;
  if (before + 1 < mostLost)
    return {
      ...about,
      action: { kind: 'lost' },
      code: 'attempts_exhausted',
      detail: 'The worker that ran it was lost.',
    };
  return {
    ...about,
    action: { kind: 'lost', isLast: true },
    code: 'workers_lost',
    detail: `${mostLost === 1 ? 'A worker was' : `${mostLost} workers were`} lost while they ran it; it is given to no other.`,
  };
}

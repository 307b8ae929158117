import type { BandName } from '../../proof/contract/bands.ts';
import { jobsBeside } from './bands.ts';
import type { PoolState } from './pool-state.ts';

/** A queue as it stands: jobs that wait and that run, how many can run at once, and what one takes. */
export interface QueueFigures {
  readonly waiting: number;
  /** Those of them that were given to workers. */
  readonly given: number;
  /** Those that wait in each band, but for what limits hold back: no new job waits for that. */
  readonly backlogs: Readonly<Record<BandName, number>>;
  readonly running: number;
  readonly slots: number;
  /** What a load of its model takes (ms) where no worker has it in memory; 0 where one has. */
  readonly coldMs: number;
  /** Mean time that an engine needs for one (ms); undefined where none was confirmed yet. */
  readonly tookMs: number | undefined;
  /** Of its pool. */
  readonly state: PoolState;
}

/**
 * How long (ms) a job of this band that comes now waits for a worker, where every job takes the mean;
 * undefined where nobody knows, as where its pool is paused or drained. It begins when as many have ended as
 * are ahead of it beyond the slots, once its model is loaded, and while all slots are taken, one ends in each
 * `slots`th part of that mean. What comes after the run, such as confirmation, holds up no worker and is not
 * in it.
 */
export function predictedWaitMs(figures: Omit<QueueFigures, 'waiting'>, band: BandName): number | undefined {
  const { given, backlogs, running, slots, coldMs, tookMs, state } = figures;
  if (state !== 'open' || slots === 0 || tookMs === undefined) return undefined;
  const before = given + backlogs[band] + jobsBeside(band, backlogs[band], backlogs);
  const toEnd = Math.max(0, before + running - slots + 1);
  return Math.round(coldMs + (toEnd * tookMs) / slots);
}

/** Of its time in memory, a model that has work spends so many times as long on it as its load takes. */
const PATIENCE = 4;
/** However long a load takes, nobody waits longer than this (ms) for its turn to come. */
export const MOST_PATIENCE_MS = 60_000;
/**
 * A model makes room that has had no work for this part of its load, or for this long (ms): more may be on
 * its way to the worker. What waits for another as long may be about to be taken by another worker.
 */
const SETTLE = 1 / 8;
const LEAST_IDLE_MS = 250;

/** A model that takes its turn in the memory of a worker. Times in ms, by one clock. */
export interface TurnTaker {
  readonly name: string;
  /** Since when it is loaded; undefined where it is not. */
  readonly loadedMs: number | undefined;
  /** Jobs of it that this worker has: claimed, or being claimed. */
  readonly atWork: number;
  /** When the worker last had a job of it. */
  readonly usedMs: number;
  /** Since when the job waits that is next in its queue, as far as this worker has seen; undefined: none. */
  readonly waitingMs: number | undefined;
  /** How long a load of it takes. */
  readonly coldMs: number;
  /** It could not be loaded, and is not tried again before. */
  readonly notBeforeMs: number;
}

/** What is to be loaded, and what makes room for it: that may still have jobs, which end first. */
export interface Swap {
  readonly load: string;
  readonly unload: string | undefined;
}

/**
 * For how long (ms) a model with work keeps its place once it is loaded, and after which wait the work of
 * one that is not loaded is worth a swap: so that loads take a fifth of the time at most.
 */
export function patienceMs(coldMs: number): number {
  return Math.min(MOST_PATIENCE_MS, PATIENCE * coldMs);
}

/**
 * The next swap of a worker that holds `resident` of these models at once; undefined where none is worth it
 * now. Free room is used at once. A model that has no work makes room for one that has; where all have, the
 * one that was loaded first does, when its time is over and another has waited for long enough. Who has
 * waited longest goes first, so that each waits for the turns of the others and no more.
 */
export function nextSwap(models: readonly TurnTaker[], resident: number, nowMs: number): Swap | undefined {
  const loaded = models.filter(({ loadedMs }) => loadedMs !== undefined);
  const hasRoom = loaded.length < resident;
  const idle = least(
    loaded.filter(({ atWork, waitingMs, usedMs, coldMs }) => {
      const isAtRest = nowMs - usedMs >= Math.max(LEAST_IDLE_MS, SETTLE * coldMs);
      return isAtRest && atWork === 0 && waitingMs === undefined;
    }),
    ({ usedMs }) => usedMs,
  );
  const spent = least(
    loaded.filter(({ loadedMs = nowMs, coldMs }) => nowMs - loadedMs >= patienceMs(coldMs)),
    ({ loadedMs = nowMs }) => loadedMs,
  );
  const waiting = models
    .filter(({ loadedMs, waitingMs, notBeforeMs }) => {
      return loadedMs === undefined && waitingMs !== undefined && notBeforeMs <= nowMs;
    })
    .toSorted((one, other) => waitedSince(one) - waitedSince(other));
  for (const model of waiting) {
    const waitedMs = nowMs - waitedSince(model);
    if (hasRoom) return { load: model.name, unload: undefined };
    if (idle !== undefined && waitedMs >= SETTLE * model.coldMs) return { load: model.name, unload: idle.name };
    if (spent !== undefined && waitedMs >= patienceMs(model.coldMs)) return { load: model.name, unload: spent.name };
  }
  return undefined;
}

const waitedSince = ({ waitingMs = Infinity }: TurnTaker): number => waitingMs;

function least(models: readonly TurnTaker[], by: (model: TurnTaker) => number): TurnTaker | undefined {
  return models.toSorted((one, other) => by(one) - by(other))[0];
}

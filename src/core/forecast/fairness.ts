import type { QueueState } from './queue-state.ts';
import type { SlotTimes } from './slot-times.ts';

/** Who had work waiting beyond its share for a smaller part of the time may have wanted less than that. */
const WANTING = 0.8;

/** Jain's index: 1 where all values are alike, one over their number where one has everything. */
export function jainIndex(values: readonly number[]): number {
  const sum = values.reduce((all, value) => all + value, 0);
  const squares = values.reduce((all, value) => all + value ** 2, 0);
  return squares === 0 ? 1 : sum ** 2 / (values.length * squares);
}

/**
 * How evenly a queue is shared now: Jain's index of the slots' time that flows got of late, each over its
 * weight. Only those count that have had work waiting beyond their share nearly all the time, because whoever
 * wants less than its share gets less. Undefined where they are fewer than two.
 */
export function fairnessOf(state: QueueState, times: SlotTimes): number | undefined {
  const shares = [...state.flows].flatMap(([name, { weight }]) => {
    const { heldMs, waiting } = times.servedOf(name, state.atMs);
    return waiting >= WANTING ? [heldMs / weight] : [];
  });
  return shares.length < 2 ? undefined : jainIndex(shares);
}

/** Jobs of one flow that are due by a time. */
export interface DueFlow {
  readonly isOwn: boolean;
  readonly weight: number;
  /** What one of its jobs is charged, in tags: all are taken to cost what its first one does. */
  readonly charge: number;
  /** How many are due in the last so many ms before that time, the time itself included. */
  readonly within: (ms: number) => number;
}

/** A queue as a job meets it that is not to begin before a time. */
export interface DueQueue {
  /** From now to that time (ms). */
  readonly leadMs: number;
  readonly slots: number;
  /** What the slots together take (ms) for a job of those that wait, and for a unit of cost. */
  readonly perEndMs: number;
  readonly perCostMs: number;
  /** What it would meet now: jobs in hand and before it, its distance, and those at the present. */
  readonly now: { readonly ahead: number; readonly distance: number; readonly ties: number };
  /** How many jobs of all flows are due in the last so many ms before that time; all of them for `leadMs`. */
  readonly within: (ms: number) => number;
  /** The flows of these jobs: its own one first, and as many others as were looked at. */
  readonly flows: readonly DueFlow[];
}

/** Where the job stands when its time has come, in jobs as long as those that wait now. */
export interface DuePlace {
  readonly ends: number;
  readonly distance: number;
  readonly ahead: number;
  readonly ties: number;
  /** For how long (ms) the queue will have had work without a break then. */
  readonly busyMs: number;
}

/** Backlogs are looked at this often (ms): what is due closer together is due at once. */
const FIRST_MS = 125;
const STEP = 1.5;

/**
 * The place of a job when its time has come: what waits now is served meanwhile, and so is what becomes due,
 * from then on. What is left of both is what became due since the queue last had nothing to do, less what was
 * served since; of the left, each flow has what is beyond an even level, over its weight. Others go first up
 * to the job's distance, as among jobs that wait. `due-place.lua` does the same.
 */
export function duePlace({ leadMs, slots, perEndMs, perCostMs, now, within, flows }: DueQueue): DuePlace {
  const counts = flows.map((flow) => flow.within(leadMs));
  const dueMs = flows.map(({ weight, charge }) => weight * charge * perCostMs);
  const known = sum(counts);
  const own = sum(counts.map((count, at) => (flows[at]?.isOwn === true ? count : 0)));
  const eachMs = known === 0 ? 0 : sum(counts.map((count, at) => count * (dueMs[at] ?? 0))) / known;
  // Flows that were not looked at are as those that were.
  const scale = known > own ? (within(leadMs) - own) / (known - own) : 1;
  const nowMs = now.ahead * perEndMs;
  const busyMs = busySince({ leadMs, nowMs, eachMs, within });
  const leftMs = busyMs < leadMs ? 0 : Math.max(0, nowMs - leadMs);
  const servedMs = busyMs < leadMs ? busyMs : leadMs - (nowMs - leftMs);

  const due = flows.map(({ isOwn, weight, charge, within: ofFlow }) => ({
    isOwn,
    charge,
    perTagMs: weight * perCostMs * (isOwn ? 1 : scale),
    scale: isOwn ? 1 : scale,
    tags: ofFlow(busyMs) * charge,
  }));
  const level = levelOf(due, servedMs);
  const distance = sum(due.map(({ isOwn, tags }) => (isOwn ? Math.max(0, tags - level) : 0)));
  let [ahead, aheadMs, ties] = [
    leftMs / perEndMs,
    leftMs,
    leftMs === 0 ? 0 : Math.max(0, now.ties - leadMs / perEndMs),
  ];
  for (const { isOwn, charge, perTagMs, scale: others, tags } of due) {
    const first = Math.min(Math.max(0, tags - level), isOwn ? distance : distance + charge);
    if (first === 0) continue;
    ahead += (others * first) / charge;
    aheadMs += perTagMs * first;
    ties += others;
  }
  // So many of those that wait now take as long as one of those ahead.
  const length = ahead === 0 ? 1 : aheadMs / ahead / perEndMs;
  return {
    ends: Math.max(0, ahead - slots + 1) * length,
    distance: distance + (leftMs === 0 ? 0 : now.distance * (leftMs / nowMs)),
    ahead: ahead * length,
    ties: ties * length,
    busyMs,
  };
}

/** For how long (ms) before the time there is more to do than is done: where most is left at the time. */
function busySince({
  leadMs,
  nowMs,
  eachMs,
  within,
}: Pick<DueQueue, 'leadMs' | 'within'> & { nowMs: number; eachMs: number }): number {
  let [busyMs, mostMs] = [0, within(0) * eachMs];
  for (let ms = FIRST_MS; ms < leadMs; ms *= STEP) {
    const leftMs = within(ms) * eachMs - ms;
    if (leftMs > mostMs) [busyMs, mostMs] = [ms, leftMs];
  }
  return nowMs + within(leadMs) * eachMs - leadMs > mostMs ? leadMs : busyMs;
}

/** The tag up to which all flows are served in this time (ms). */
function levelOf(flows: readonly { readonly perTagMs: number; readonly tags: number }[], servedMs: number): number {
  let [level, leftMs, perTagMs] = [0, servedMs, sum(flows.map((flow) => flow.perTagMs))];
  for (const flow of flows.toSorted((a, b) => a.tags - b.tags)) {
    const stepMs = (flow.tags - level) * perTagMs;
    if (stepMs > leftMs) return level + leftMs / perTagMs;
    leftMs -= stepMs;
    perTagMs -= flow.perTagMs;
    level = flow.tags;
  }
  return level;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

import { z } from 'zod';

/** What was looked at longer ago says nothing of the time since. */
const LONGEST_LOOK_MS = 5_000;
/** So much is looked at before it says something. */
const LEAST_MS = 1_000;
const LEAST_JOBS = 20;
const STEP = 0.3;

export const SlotGap = z.object({
  /** What a slot does nothing for after a job (ms), as a mean that may be below 0; and of how many looks. */
  ms: z.number(),
  looks: z.number(),
  /** The last look: when (ms), and how many jobs waited. Since then: how many ended, and what they took. */
  atMs: z.number(),
  waiting: z.number(),
  ended: z.number(),
  tookMs: z.number(),
  /** While more waited than ended: the time of all slots, the jobs that ended, and what they took. */
  slotMs: z.number(),
  jobs: z.number(),
  jobsMs: z.number(),
});
/**
 * What a slot does nothing for between two jobs: the way of the next one to it, which no job's own time
 * shows. It is what is left of the time of all slots while jobs waited throughout, over the jobs that ended.
 * Where attestors or Redis hold the workers up, that is in it as well.
 */
export type SlotGap = z.infer<typeof SlotGap>;

export const NO_GAP: SlotGap = {
  ...{ ms: 0, looks: 0, atMs: 0, waiting: 0, ended: 0, tookMs: 0 },
  ...{ slotMs: 0, jobs: 0, jobsMs: 0 },
};

/** One more job has ended. */
export function withEnded(gap: SlotGap, tookMs: number): SlotGap {
  return { ...gap, ended: gap.ended + 1, tookMs: gap.tookMs + tookMs };
}

/** The queue was looked at: so many jobs wait for a slot, released ones among them. */
export function lookedAt(gap: SlotGap, look: { atMs: number; waiting: number; slots: number }): SlotGap {
  const spanMs = look.atMs - gap.atMs;
  if (spanMs <= 0) return gap;
  const next = { ...gap, atMs: look.atMs, waiting: look.waiting, ended: 0, tookMs: 0 };
  // As many waited before as have ended since: there was never a time when none did.
  if (spanMs > LONGEST_LOOK_MS || look.slots <= 0 || gap.ended === 0 || gap.waiting < gap.ended) return next;
  const slotMs = gap.slotMs + look.slots * spanMs;
  const jobs = gap.jobs + gap.ended;
  const jobsMs = gap.jobsMs + gap.tookMs;
  if (slotMs < look.slots * LEAST_MS || jobs < LEAST_JOBS) return { ...next, slotMs, jobs, jobsMs };
  const ms = gap.ms + ((slotMs - jobsMs) / jobs - gap.ms) * Math.max(STEP, 1 / (gap.looks + 1));
  return { ...next, ms, looks: gap.looks + 1, slotMs: 0, jobs: 0, jobsMs: 0 };
}

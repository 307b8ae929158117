import { z } from 'zod';
import { FINAL_STATES } from '../../proof/contract/job-states.ts';
import { Task } from '../../proof/receipts/fields.ts';

/** Most ends that are entered by one call, and most rows of a page. */
export const MAX_ENDS = 500;
const MAX_PAGE = 100;

const Ms = z.coerce.number().int().min(0);
const Count = z.coerce.number().int().min(0).nullable();

/** An ended job as the history keeps it: what is looked for, and nothing of what was asked or answered. */
export const EndedJob = z.strictObject({
  id: z.string(),
  tenant: z.string(),
  key_id: z.string(),
  model: z.string(),
  pool: z.string(),
  task: Task,
  /** How it was to be confirmed, as JSON. */
  policy: z.string(),
  state: z.enum(FINAL_STATES),
  /** Of the last attempt; empty where there was none, as are its times. */
  worker: z.string(),
  epoch: z.int(),
  code: z.string(),
  detail: z.string(),
  created_ms: Ms,
  deadline_ms: Ms,
  claimed_ms: Ms.nullable(),
  began_ms: Ms.nullable(),
  committed_ms: Ms.nullable(),
  ended_ms: Ms,
  input_tokens: Count,
  output_tokens: Count,
  /** In millionths of the currency. */
  charge: Count,
  currency: z.string().nullable(),
  erased_ms: Ms.nullable(),
});
export type EndedJob = z.infer<typeof EndedJob>;

/** A place in the order of lists, newest first. */
export const Place = z.strictObject({ created_ms: z.coerce.number(), id: z.string() });
export type Place = z.infer<typeof Place>;

/** How far the history is. */
export const HistoryState = z.strictObject({
  /** The place of the last end that is in it, in the order of ends. */
  entered: z.number(),
  /** The entries of the log below this one are in it. */
  archived: z.coerce.number(),
});
export type HistoryState = z.infer<typeof HistoryState>;

export const HISTORY_CALLS = {
  historyState: { ask: z.strictObject({}), answer: HistoryState },
  /**
   * Enters ends, each once, and moves on from `from`. Where the history is not at `from`, nothing is done;
   * the answer says where it is.
   */
  noteEnds: {
    ask: z.strictObject({ jobs: z.array(EndedJob).max(MAX_ENDS), from: HistoryState, to: HistoryState }),
    answer: HistoryState,
  },
  /** A page of a tenant's ended jobs, and where the next one begins; null where there is none. */
  findEnded: {
    ask: z.strictObject({
      tenant: z.string(),
      /** Only jobs that one of these keys made; null stands for all. */
      keys: z.array(z.string()).max(1_000).nullable(),
      state: z.enum(FINAL_STATES).optional(),
      model: z.string().optional(),
      worker: z.string().optional(),
      /** Words that all stand in the reason. */
      words: z.array(z.string()).max(16),
      after_ms: z.number().optional(),
      /** The page begins behind it. */
      before: Place,
      limit: z.int().min(1).max(MAX_PAGE),
    }),
    answer: z.strictObject({ jobs: z.array(EndedJob), next: Place.nullable(), state: HistoryState }),
  },
  getEnded: { ask: z.strictObject({ tenant: z.string(), id: z.string() }), answer: EndedJob.nullable() },
  /** What workers and callers wrote of these jobs goes, now and should they be entered later. */
  eraseEnded: { ask: z.strictObject({ ids: z.array(z.string()).max(MAX_ENDS) }), answer: z.null() },
  /** Removes some of the jobs of a tenant for good; returns how many, 0 when none is left. */
  forgetTenant: { ask: z.strictObject({ tenant: z.string() }), answer: z.int() },
} as const satisfies Record<string, { ask: z.ZodType; answer: z.ZodType }>;

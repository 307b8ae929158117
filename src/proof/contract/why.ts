import type { JobState } from './job-states.ts';

/** What an open job can wait for, and that it has ended. */
export const HINDRANCES = [
  'not_before',
  'paused_pool',
  'no_worker',
  'engine_away',
  'limit',
  'retry_pause',
  'share',
  'slots',
  'attestation_backlog',
  'cold_model',
  'starting',
  'engine',
  'stopping',
  'no_attestor',
  'not_judged',
  'attestation',
  'publishing',
  'ended',
] as const;
export type Hindrance = (typeof HINDRANCES)[number];

/** The one thing that holds a job now, as a plain type. `contract.test.ts` holds it equal to the schema. */
export interface Why {
  job: string;
  state: JobState;
  held_by: Hindrance;
  /** One sentence for people. */
  detail: string;
  /** What the sentence says, for programs: counts, and times in ms. */
  numbers: Record<string, number>;
  /** What would change it; null where nothing has to. */
  remedy: string | null;
}

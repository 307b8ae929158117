/**
 * The states of a job, in the words that every caller sees. What each of them means:
 * `core/jobs/job-state.ts`.
 */
export const JOB_STATES = [
  'queued',
  'running',
  'attesting',
  'done',
  'rejected',
  'failed',
  'cancelled',
  'expired',
] as const;
export type JobState = (typeof JOB_STATES)[number];

/** The states that never change. */
export const FINAL_STATES = ['done', 'rejected', 'failed', 'cancelled', 'expired'] as const;
export type FinalState = (typeof FINAL_STATES)[number];

export function isFinal(state: JobState): state is FinalState {
  return (FINAL_STATES as readonly JobState[]).includes(state);
}

/**
 * Why an attempt was closed. `voted`: the answer counts as one of a quorum, and another worker is asked.
 * `void`: the job is none the worse for it, and it is not counted as one of its attempts.
 */
export const CLOSINGS = ['refuted', 'released', 'lost', 'voted', 'void'] as const;
export type ClosingReason = (typeof CLOSINGS)[number];

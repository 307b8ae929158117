import { JOB_STATES, type ClosingReason, type FinalState, type JobState } from '../../proof/contract/job-states.ts';

/**
 * The states of a job. A state is never stored: it follows from the documents of the job (`stateOf`).
 *
 *             begin            commit evidence         confirm
 *   queued ─────────▶ running ─────────────▶ attesting ─────────▶ done
 *     ▲  ▲               │                       │
 *     │  └── release ────┘                       │
 *     └───────────── refute, attempts left ──────┤
 *                                                └─▶ rejected
 *   any open state ─▶ cancelled | expired | failed
 *
 * A job that a worker has claimed ahead is queued until the engine begins.
 */
/** The only legal moves. The property test walks the scripts against this table. */
export const TRANSITIONS = {
  queued: ['running', 'cancelled', 'expired', 'failed'],
  running: ['attesting', 'queued', 'cancelled', 'expired', 'failed'],
  attesting: ['done', 'rejected', 'queued', 'cancelled', 'expired', 'failed'],
  done: [],
  rejected: [],
  failed: [],
  cancelled: [],
  expired: [],
} as const satisfies Record<JobState, readonly JobState[]>;

/** Whether a text is the name of a state. */
export function isJobState(text: string): text is JobState {
  return (JOB_STATES as readonly string[]).includes(text);
}

/**
 * One claim of a job: its worker, when it was claimed, when evidence was committed, why the attestor closed
 * it. It is an attempt once its engine began.
 */
export interface Attempt {
  readonly epoch: number;
  readonly worker: string;
  readonly claimedMs: number;
  /** When its engine began; undefined while the claim is held ready, and where it never did. */
  readonly beganMs: number | undefined;
  readonly committedMs: number | undefined;
  readonly closed: Closing | undefined;
}

/** Why and when the attestor closed an attempt. */
export interface Closing {
  readonly why: ClosingReason;
  readonly atMs: number;
  readonly detail: string;
}

/** How and when the job became final. */
export interface Ending {
  readonly state: FinalState;
  readonly atMs: number;
  readonly epoch: number;
  readonly code: string;
  readonly detail: string;
}

/** The state that follows from the attempts and the ending of a job. */
export function stateOf(attempts: readonly Attempt[], ending: Ending | undefined): JobState {
  if (ending !== undefined) return ending.state;
  const current = attempts.at(-1);
  if (current === undefined || current.closed !== undefined) return 'queued';
  if (current.committedMs !== undefined) return 'attesting';
  return current.beganMs === undefined ? 'queued' : 'running';
}

import type { BandName } from './bands.ts';
import type { ClosingReason, JobState } from './job-states.ts';
import type { TaskName } from './task-types.ts';
import type { AttestationPolicy, TicketParameters } from './verified-receipt.ts';

/** A job as HTTP shows it, as a plain type. `contract.test.ts` holds it equal to the schema `JobDocument`. */
export interface Job {
  id: string;
  state: JobState;
  model: string;
  task: TaskName;
  /** Null once the job is erased, and where the history was searched. */
  params: TicketParameters | null;
  attestation: AttestationPolicy;
  created_at: string;
  deadline: string;
  /** Before which it does not begin; null where it may at once, and once it has ended. */
  not_before: string | null;
  /** Among the jobs of its tenant, higher ones go first; null once it has ended. */
  priority: number | null;
  /** In which it waits for its turn; null once it has ended. */
  band: BandName | null;
  ended_at: string | null;
  /** Since when input, parameters and output are erased; null where they are not. */
  erased_at: string | null;
  cancel_requested_at: string | null;
  /** The job whose question it asks again; null where it asks its own, and once it is erased. */
  retried_from: string | null;
  /** Why the job ended as it did; null while it is not final. */
  reason: { code: string; detail: string } | null;
  /** What the attestor checked, by names of promises, `binding` among them; null until the job is done. */
  confirmed_by: string[] | null;
  /** What the verdict owns up to not having checked, likewise. */
  not_checked: string[] | null;
  /** What it came to, in millionths; null until it ends, where it has no price, and in the history. */
  charge: { amount: number; currency: string } | null;
  /** How many jobs are to end before it begins; null once it has, and where no worker is there. */
  queue_position: number | null;
  /** When it will have ended, with a probability of 0.5 and of 0.9; null where nobody can tell. */
  eta: { p50: string; p90: string } | null;
  attempts: {
    epoch: number;
    worker: string;
    claimed_at: string;
    /** When its engine began; null where it has not. */
    started_at: string | null;
    committed_at: string | null;
    closed: { why: ClosingReason; at: string; detail: string } | null;
  }[];
  /** `output` and `receipt` are null until the job is done, and once it is erased. */
  links: { self: string; events: string; output: string | null; receipt: string | null };
}

/** What became of a request to cancel. `stopping`: the worker has not stopped yet. */
export interface Cancellation {
  outcome: 'cancelled' | 'stopping' | 'already_final' | 'ended_first';
  job: Job;
}

/** What became of a request to ask the question of an ended job again. */
export interface Retried {
  outcome: 'retried' | 'already_retried';
  /** The new job. */
  job: Job;
}

import { CodedError } from '../../ground/errors/coded-error.ts';
import {
  DEFAULTS,
  LONGEST_DEADLINE_MS,
  SHORTEST_DEADLINE_MS,
  type SubmitJob,
} from '../../proof/contract/submit-job.ts';

/** When a job is to have ended, and before when it is not to begin; ms since the epoch. */
export interface JobTimes {
  readonly deadlineMs: number;
  /** Undefined where it may begin at once, also where the time that was asked for is over. */
  readonly notBeforeMs: number | undefined;
}

/**
 * The times of a job that is submitted at `nowMs`. Without a `deadline_ms` it has ten minutes from when it
 * may begin, as far as deadlines reach. What was good once is good later: the time before which it is not to
 * begin stands still, and the deadline moves on. Throws CodedError `request_invalid` where less than a second
 * lies between them.
 */
export function jobTimes({ not_before, deadline_ms }: Pick<SubmitJob, 'not_before' | 'deadline_ms'>, nowMs: number) {
  const asked = not_before === undefined ? nowMs : Date.parse(not_before);
  const firstMs = Math.max(nowMs, asked);
  const usual = Math.min(firstMs + DEFAULTS.deadlineMs, nowMs + LONGEST_DEADLINE_MS);
  const deadlineMs = deadline_ms === undefined ? usual : nowMs + deadline_ms;
  if (deadlineMs - firstMs < SHORTEST_DEADLINE_MS)
    throw new CodedError(
      'request_invalid',
      `not_before: the job is to begin ${inSeconds(firstMs - nowMs)} s from now, and at least a second before its deadline, which is ${inSeconds(deadlineMs - nowMs)} s from now.`,
      {
        param: 'not_before',
        hint: 'give it more time with deadline_ms, which is a day at most, or let it begin sooner',
      },
    );
  return { deadlineMs, notBeforeMs: firstMs > nowMs ? firstMs : undefined } satisfies JobTimes;
}

function inSeconds(ms: number): string {
  return String(Math.round(ms / 1_000));
}

import { z } from 'zod';
import { JobId, Task } from '../receipts/fields.ts';
import { Params, Policy } from '../receipts/statements.ts';
import type { Cancellation, Job } from './job.ts';
import { CLOSINGS, JOB_STATES } from './job-states.ts';

const Time = z.iso.datetime();

/** A job as HTTP shows it. */
export const JobDocument = z.strictObject({
  id: JobId,
  state: z.enum(JOB_STATES),
  model: z.string(),
  task: Task,
  params: Params.nullable().describe('null once the job is erased'),
  attestation: Policy,
  created_at: Time,
  deadline: Time,
  ended_at: Time.nullable(),
  erased_at: Time.nullable().describe('since when input, parameters and output are erased; null where they are not'),
  cancel_requested_at: Time.nullable(),
  reason: z
    .strictObject({ code: z.string(), detail: z.string() })
    .nullable()
    .describe('why the job ended as it did; null while it is not final'),
  confirmed_by: z
    .array(z.string())
    .nullable()
    .describe(
      'what the attestor checked, by names of promises, `binding` always among them; null until the job is done',
    ),
  not_checked: z
    .array(z.string())
    .nullable()
    .describe('what the verdict owns up to not having checked, likewise; null until the job is done'),
  attempts: z.array(
    z.strictObject({
      epoch: z.int(),
      worker: z.string(),
      claimed_at: Time,
      started_at: Time.nullable().describe('when its engine began; null where it has not'),
      committed_at: Time.nullable(),
      closed: z.strictObject({ why: z.enum(CLOSINGS), at: Time, detail: z.string() }).nullable(),
    }),
  ),
  links: z.strictObject({
    self: z.string(),
    events: z.string(),
    output: z.string().nullable(),
    receipt: z.string().nullable(),
  }),
});
export type JobDocument = Job;

/** The answer of `POST /v1/jobs/{id}/cancel`. */
export const CancelAnswer = z.strictObject({
  outcome: z.enum(['cancelled', 'stopping', 'already_final', 'ended_first']),
  job: JobDocument,
});
export type CancelAnswer = Cancellation;

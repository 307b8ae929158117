import { z } from 'zod';
import { JobId, Task } from '../receipts/fields.ts';
import { Params, Policy } from '../receipts/statements.ts';
import { BANDS } from './bands.ts';
import type { Cancellation, Job, Retried } from './job.ts';
import { CLOSINGS, JOB_STATES } from './job-states.ts';
import { HINDRANCES } from './why.ts';

const Time = z.iso.datetime();

/** When a job ends. */
export const EtaDocument = z
  .strictObject({ p50: Time, p90: Time })
  .describe('when it will have ended, with a probability of 0.5 and of 0.9');

/** A job as HTTP shows it. */
export const JobDocument = z.strictObject({
  id: JobId,
  state: z.enum(JOB_STATES),
  model: z.string(),
  task: Task,
  params: Params.nullable().describe('null once the job is erased, and where the history was searched'),
  attestation: Policy,
  created_at: Time,
  deadline: Time,
  not_before: Time.nullable().describe(
    'before which it does not begin; null where it may at once, and once it has ended',
  ),
  priority: z.int().nullable().describe('among the jobs of its tenant, higher ones go first; null once it has ended'),
  band: z.enum(BANDS).nullable().describe('in which it waits for its turn; null once it has ended'),
  ended_at: Time.nullable(),
  erased_at: Time.nullable().describe('since when input, parameters and output are erased; null where they are not'),
  cancel_requested_at: Time.nullable(),
  retried_from: JobId.nullable().describe(
    'the job whose question it asks again; null where it asks its own, and once it is erased',
  ),
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
  charge: z
    .strictObject({ amount: z.int().describe('in millionths'), currency: z.string() })
    .nullable()
    .describe('what it came to; null until it ends, where it has no price, and where the history was searched'),
  queue_position: z
    .int()
    .nullable()
    .describe('how many jobs are to end before it begins; null once it has, where no worker is there, and in lists'),
  eta: EtaDocument.nullable().describe('null where nobody can tell, and in lists'),
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

/** The answer of `POST /v1/jobs/{id}/retry`. */
export const RetryAnswer = z.strictObject({
  outcome: z.enum(['retried', 'already_retried']),
  job: JobDocument,
});
export type RetryAnswer = Retried;

/** The answer of `GET /v1/jobs/{id}/why`. */
export const WhyDocument = z.strictObject({
  job: JobId,
  state: z.enum(JOB_STATES),
  held_by: z.enum(HINDRANCES).describe('the one thing that holds the job now'),
  detail: z.string(),
  numbers: z.record(z.string(), z.number()).describe('what the sentence says: counts, and times in ms'),
  remedy: z.string().nullable().describe('what would change it; null where nothing has to'),
});

import { z } from 'zod';
import { JobDocument } from '../../proof/contract/job-document.ts';
import { JOB_STATES } from '../../proof/contract/job-states.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';

/** A name that is looked for. No name has a control character, and a database takes none. */
const Named = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^\P{Cc}*$/u, 'holds a control character');

/** The query of `GET /v1/jobs`. */
export const ListJobs = z.strictObject({
  state: z.enum(JOB_STATES).optional().describe('only jobs in this state'),
  model: Named(63).optional().describe('only jobs for this model'),
  worker: Named(200).optional().describe('only jobs whose last attempt this worker made'),
  key: Named(100).optional().describe('only jobs that this API key made, by its id'),
  reason: z.string().min(1).max(300).optional().describe('only ended jobs whose reason has all these words'),
  idempotency_key: z
    .string()
    .min(1)
    .max(300)
    .optional()
    .describe('only the job that was asked for under this Idempotency-Key within a day; no other filter counts'),
  history: z
    .enum(['true', 'false'])
    .optional()
    .describe('`true` also finds what Redis keeps no longer, as `worker`, `key` and `reason` always do'),
  created_after: z.iso.datetime({ offset: true }).optional().describe('only jobs created later'),
  created_before: z.iso.datetime({ offset: true }).optional().describe('only jobs created earlier'),
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('the most jobs of a page'),
  cursor: z.string().max(200).optional().describe('`next_cursor` of the page before'),
});

export const JobList = z.strictObject({
  jobs: z.array(JobDocument),
  next_cursor: z.string().nullable().describe('null on the last page'),
  catching_up: z.boolean().describe('whether ended jobs are still being entered in the history that was searched'),
});
export type JobList = z.infer<typeof JobList>;

/** The confirmed output of a job, in the shape of its task. */
export const JobOutput = z.union([OUTPUTS.completion, OUTPUTS.chat, OUTPUTS.embedding]);

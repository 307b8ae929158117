import { z } from 'zod';
import { JobDocument } from '../../proof/contract/job-document.ts';
import { JOB_STATES } from '../../proof/contract/job-states.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';

/** The query of `GET /v1/jobs`. */
export const ListJobs = z.strictObject({
  state: z.enum(JOB_STATES).optional().describe('only jobs in this state'),
  model: z.string().max(63).optional().describe('only jobs for this model'),
  created_after: z.iso.datetime({ offset: true }).optional().describe('only jobs created later'),
  created_before: z.iso.datetime({ offset: true }).optional().describe('only jobs created earlier'),
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('the most jobs of a page'),
  cursor: z.string().max(200).optional().describe('`next_cursor` of the page before'),
});

export const JobList = z.strictObject({
  jobs: z.array(JobDocument),
  next_cursor: z.string().nullable().describe('null on the last page'),
});
export type JobList = z.infer<typeof JobList>;

/** The confirmed output of a job, in the shape of its task. */
export const JobOutput = z.union([OUTPUTS.completion, OUTPUTS.chat, OUTPUTS.embedding]);

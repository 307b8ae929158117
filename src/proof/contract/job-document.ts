import { z } from 'zod';
import { Policy } from '../receipts/statements.ts';
import { CLOSINGS, JOB_STATES } from './job-states.ts';

/** A job as HTTP shows it. */
export const JobDocument = z.strictObject({
  id: z.string(),
  state: z.enum(JOB_STATES),
  model: z.string(),
  task: z.string(),
  params: z.looseObject({}),
  attestation: Policy,
  created_at: z.string(),
  deadline: z.string(),
  ended_at: z.string().nullable(),
  cancel_requested_at: z.string().nullable(),
  reason: z.strictObject({ code: z.string(), detail: z.string() }).nullable(),
  attempts: z.array(
    z.strictObject({
      epoch: z.number(),
      worker: z.string(),
      started_at: z.string(),
      committed_at: z.string().nullable(),
      closed: z.strictObject({ why: z.enum(CLOSINGS), at: z.string(), detail: z.string() }).nullable(),
    }),
  ),
  links: z.strictObject({
    self: z.string(),
    events: z.string(),
    output: z.string().nullable(),
    receipt: z.string().nullable(),
  }),
});
export type JobDocument = z.infer<typeof JobDocument>;

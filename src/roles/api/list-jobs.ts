import { z } from 'zod';
import { JOB_STATES } from '../../proof/contract/job-states.ts';

/** The query of `GET /v1/jobs`. */
export const ListJobs = z.strictObject({
  state: z.enum(JOB_STATES).optional(),
  model: z.string().max(63).optional(),
  created_after: z.iso.datetime({ offset: true }).optional(),
  created_before: z.iso.datetime({ offset: true }).optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().max(200).optional(),
});

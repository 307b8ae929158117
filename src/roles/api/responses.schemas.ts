import { z } from 'zod';

/** The query of `GET /v1/responses/{response}`. */
export const GetResponse = z.strictObject({
  stream: z.enum(['true', 'false']).optional().describe('whether to answer with a stream of events'),
  starting_after: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000_000)
    .optional()
    .describe('the sequence number of the last event that the caller has seen'),
  include_obfuscation: z.string().max(5).optional().describe('accepted and without effect: events are not padded'),
});

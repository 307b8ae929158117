import { z } from 'zod';
import { BANDS } from './bands.ts';
import { EVENT_TYPES } from './event-types.ts';
import type { JobRequest } from './job-request.ts';
import type { AttestationPolicy } from './verified-receipt.ts';
import { MAX_SEED } from '../tasks/sampling.ts';
import { INPUTS } from '../tasks/task-input.ts';
import { PROMISES } from '../receipts/promises/promises.ts';
import { Policy } from '../receipts/statements.ts';

export const SHORTEST_DEADLINE_MS = 1_000;
export const LONGEST_DEADLINE_MS = 86_400_000;

/**
 * The body of `POST /v1/jobs`. What is left out gets its default at admission, and stands in the ticket then.
 */
const Parameters = z.strictObject({
  max_tokens: z.number().int().min(1).max(131_072).optional().describe('most tokens of the answer; 128 by default'),
  temperature: z
    .number()
    .min(0)
    .max(2)
    .optional()
    .describe('0 by default: the likeliest token each time; below 0.01 it is 0'),
  top_p: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('1 by default; 0 leaves the likeliest token, as a temperature of 0'),
  seed: z
    .number()
    .int()
    .min(0)
    .max(MAX_SEED)
    .optional()
    .describe('drawn at random where absent, and told in the ticket'),
  stop: z.array(z.string().min(1).max(64)).max(4).optional().describe('texts that end the answer'),
});

/** The time before which a job does not begin, wherever a caller may say it. */
export const NotBefore = z.iso
  .datetime({ offset: true })
  .describe('the time before which the job does not begin, at least a second before its deadline');

/** Which of its tenant's jobs goes first, wherever a caller may say it. */
export const Priority = z
  .int()
  .min(-10)
  .max(10)
  .describe('among the jobs of its tenant, higher ones go first; 0 by default');

/** Whose turn it is among all that waits for a model, wherever a caller may say it. */
export const Band = z
  .enum(BANDS)
  .describe('`interactive`, `standard` by default, or `batch`: each has a least share of the workers');

/** How long a job may take, in ms from its submission, wherever a caller may say it. */
export const DeadlineMs = z.number().int().min(SHORTEST_DEADLINE_MS).max(LONGEST_DEADLINE_MS);

const common = {
  model: z.string().min(1).max(500).describe('name of a model from `GET /v1/models`'),
  params: Parameters.optional(),
  attestation: Policy.partial().optional().describe(PROMISES.describe()),
  attempts: z.number().int().min(1).max(10).optional().describe('most attempts, 3 by default'),
  webhook: z
    .strictObject({
      url: z.string().min(1).max(2_048),
      events: z.array(z.enum(EVENT_TYPES)).min(1).max(EVENT_TYPES.length).optional(),
    })
    .optional()
    .describe("an address that is told of this job's states; of its end where `events` is absent"),
  store: z
    .boolean()
    .optional()
    .describe('true by default; false: input, parameters and output are erased an hour after the end of the job'),
  deadline_ms: DeadlineMs.optional().describe('from now; by default ten minutes from when it may begin'),
  not_before: NotBefore.optional(),
  priority: Priority.optional(),
  band: Band.optional(),
};

export const SubmitJob = z.discriminatedUnion('task', [
  z.strictObject({ task: z.literal('completion'), input: INPUTS.completion, ...common }),
  z.strictObject({ task: z.literal('chat'), input: INPUTS.chat, ...common }),
  z.strictObject({ task: z.literal('embedding'), input: INPUTS.embedding, ...common }),
]);
export type SubmitJob = JobRequest;

export const DEFAULTS = {
  max_tokens: 128,
  temperature: 0,
  top_p: 1,
  attempts: 3,
  deadlineMs: 600_000,
  priority: 0,
  band: 'standard',
} as const;

const MAX_ATTEMPTS = 10;

/** The most attempts of a job: those that were asked for, and one for each further run of its policy. */
export function attemptsOf(asked: number | undefined, policy: AttestationPolicy): number {
  return Math.min(MAX_ATTEMPTS, (asked ?? DEFAULTS.attempts) + PROMISES.runs({ ...policy }) - 1);
}

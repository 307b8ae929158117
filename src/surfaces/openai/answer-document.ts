import { z } from 'zod';
import { JOB_STATES } from '../../proof/contract/job-states.ts';
import { FINISH_REASONS } from '../../proof/receipts/fields.ts';
import { TIERS } from './service-tier.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';

/**
 * Answers in the shape of OpenAI (`CreateChatCompletionResponse` and its kin), each with a member
 * `countersign`.
 */
const Confirmation = z.strictObject({
  job_id: z.string(),
  state: z.enum([...JOB_STATES, 'unconfirmed']),
  receipt: z.string().nullable().describe('address of the receipt, once the job is done'),
  confirmed_by: z.array(z.string()).nullable().describe('what the attestor checked; null until the job is done'),
  not_checked: z.array(z.string()).nullable().describe('what it did not check; null until the job is done'),
});
export type Confirmation = z.infer<typeof Confirmation>;

/** What every answer says about its confirmation. */
export const Countersigned = Confirmation.extend({
  choices: z
    .array(Confirmation.extend({ index: z.int() }))
    .optional()
    .describe('the job of each choice, where there are several'),
  provisional: z.literal(true).optional().describe('no attestor has confirmed this text'),
});
export type Countersigned = z.infer<typeof Countersigned>;

const Usage = z.strictObject({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() });
export type Usage = z.infer<typeof Usage>;

const ServiceTier = z.enum(TIERS).optional().describe('what served it, where `service_tier` was asked for');
const Created = z.int().describe('seconds since 1970');
const FinishReason = z.enum(FINISH_REASONS).nullable().describe('null where the answer is provisional');
const Logprobs = OUTPUTS.chat.shape.logprobs.unwrap().nullable();
const ToolCall = OUTPUTS.chat.shape.message.shape.tool_calls.unwrap().unwrap();

export const ChatCompletion = z.strictObject({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: Created,
  model: z.string(),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: OUTPUTS.chat.shape.message.extend({ refusal: z.null() }),
      logprobs: Logprobs,
      finish_reason: FinishReason,
    }),
  ),
  usage: Usage.optional().describe('absent where the answer is provisional'),
  service_tier: ServiceTier,
  countersign: Countersigned,
});
export type ChatCompletion = z.infer<typeof ChatCompletion>;

const TextChoice = z.strictObject({
  index: z.int(),
  text: z.string(),
  logprobs: z.null(),
  finish_reason: FinishReason,
});

export const TextCompletion = z.strictObject({
  id: z.string(),
  object: z.literal('text_completion'),
  created: Created,
  model: z.string(),
  choices: z.array(TextChoice),
  usage: Usage.optional().describe('absent where the answer is provisional'),
  service_tier: ServiceTier,
  countersign: Countersigned,
});
export type TextCompletion = z.infer<typeof TextCompletion>;

export const EmbeddingList = z.strictObject({
  object: z.literal('list'),
  model: z.string(),
  data: z.array(
    z.strictObject({
      object: z.literal('embedding'),
      index: z.int(),
      embedding: z
        .union([z.array(z.number()), z.string()])
        .describe('numbers, or with `encoding_format` = `base64` their 32-bit floats, little-endian'),
    }),
  ),
  usage: z.strictObject({ prompt_tokens: z.int(), total_tokens: z.int() }),
  countersign: Countersigned,
});
export type EmbeddingList = z.infer<typeof EmbeddingList>;

/** The answer to any of the three endpoints. */
export type AnswerDocument = ChatCompletion | TextCompletion | EmbeddingList;

const ChatChunkChoice = z.strictObject({
  index: z.int(),
  delta: z.strictObject({
    role: z.literal('assistant').optional(),
    content: z.string().optional(),
    reasoning_content: z.string().optional(),
    tool_calls: z.array(ToolCall.extend({ index: z.int() })).optional(),
  }),
  logprobs: Logprobs,
  finish_reason: FinishReason,
});
/** A choice within one frame of a stream. */
export type ChunkChoice = z.infer<typeof ChatChunkChoice> | z.infer<typeof TextChoice>;

const chunk = {
  id: z.string(),
  created: Created,
  model: z.string(),
  service_tier: ServiceTier,
  usage: Usage.nullish().describe('there with `stream_options.include_usage`; null before the last frame'),
  countersign: Countersigned.optional().describe('in the first and in the last frame of a choice'),
};

/**
 * One frame of a streamed answer. Pieces are provisional; the last frame of a choice comes after its verdict.
 */
export const CompletionChunk = z.discriminatedUnion('object', [
  z.strictObject({
    object: z.literal('chat.completion.chunk'),
    choices: z.array(ChatChunkChoice),
    ...chunk,
  }),
  z.strictObject({ object: z.literal('text_completion'), choices: z.array(TextChoice), ...chunk }),
]);
export type CompletionChunk = z.infer<typeof CompletionChunk>;

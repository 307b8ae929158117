import { z } from 'zod';
import { FINISH_REASONS, type Task } from '../receipts/fields.ts';

/** The inputs and outputs of each task. Both are JSON; the digests in statements are over their bytes. */
const Text = z.string().max(1_000_000);

const ToolCall = z.strictObject({
  id: z.string().min(1).max(128),
  type: z.literal('function'),
  function: z.strictObject({ name: z.string().min(1).max(64), arguments: Text }),
});

const Message = z.union([
  z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: Text }),
  z.strictObject({
    role: z.literal('assistant'),
    content: Text.nullable(),
    tool_calls: z.array(ToolCall).min(1).max(128),
  }),
  z.strictObject({ role: z.literal('tool'), content: Text, tool_call_id: z.string().min(1).max(128) }),
]);

const Tool = z.strictObject({
  type: z.literal('function'),
  function: z.strictObject({
    name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
    description: z.string().max(8_192).optional(),
    parameters: z.looseObject({}).optional(),
    strict: z.boolean().nullish(),
  }),
});

export const REASONING_EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const;

/** Options that only some models support; see `features` in the catalog. */
const chatOptions = {
  tools: z.array(Tool).min(1).max(128).optional(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.strictObject({
        type: z.literal('function'),
        function: z.strictObject({ name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/) }),
      }),
    ])
    .optional(),
  /** Absent where the model may call several at once. */
  parallel_tool_calls: z.literal(false).optional(),
  response_format: z
    .union([
      z.strictObject({ type: z.enum(['text', 'json_object']) }),
      z.strictObject({
        type: z.literal('json_schema'),
        json_schema: z.strictObject({
          name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
          description: z.string().max(8_192).optional(),
          schema: z.looseObject({}).optional(),
          strict: z.boolean().nullish(),
        }),
      }),
    ])
    .optional(),
  logprobs: z.literal(true).optional(),
  top_logprobs: z.number().int().min(0).max(20).optional(),
  /** How much a model is to reason, and whether the answer is to show it. */
  reasoning: z
    .strictObject({ effort: z.enum(REASONING_EFFORTS).optional(), show: z.literal(true).optional() })
    .optional(),
};

export const FEATURES = ['tools', 'response_format', 'logprobs', 'reasoning'] as const;
export type Feature = (typeof FEATURES)[number];

/** The features that this input needs. */
export function featuresOf(input: object): Feature[] {
  return FEATURES.filter((feature) => feature in input);
}

/** The schema of the input of each task. */
export const INPUTS = {
  completion: z.strictObject({ prompt: Text.min(1) }),
  chat: z.strictObject({
    messages: z.array(Message).min(1).max(1_000),
    ...chatOptions,
  }),
  embedding: z.strictObject({ texts: z.array(Text.min(1)).min(1).max(512) }),
} as const satisfies Record<Task, z.ZodType>;

export type ChatInput = z.infer<(typeof INPUTS)['chat']>;

const FinishReason = z.enum(FINISH_REASONS);

/** The schema of the output of each task. */
export const OUTPUTS = {
  completion: z.strictObject({ text: z.string(), finish_reason: FinishReason }),
  chat: z.strictObject({
    message: z.strictObject({
      role: z.literal('assistant'),
      content: z.string().nullable(),
      reasoning_content: z.string().optional(),
      tool_calls: z.array(ToolCall).min(1).max(128).optional(),
    }),
    finish_reason: FinishReason,
    logprobs: z
      .strictObject({ content: z.array(z.looseObject({ token: z.string(), logprob: z.number() })) })
      .optional(),
  }),
  embedding: z.strictObject({ embeddings: z.array(z.array(z.number())) }),
} as const satisfies Record<Task, z.ZodType>;

/** The text of an output; "" of vectors. Throws where it is no output. */
export function textOfOutput(output: unknown): string {
  const chat = OUTPUTS.chat.safeParse(output);
  if (chat.success) return chat.data.message.content ?? '';
  const completion = OUTPUTS.completion.safeParse(output);
  if (completion.success) return completion.data.text;
  OUTPUTS.embedding.parse(output);
  return '';
}

/** An output of at most so many bytes is stored beside the evidence, and a longer one as a blob. */
export const INLINE_BYTES = 4_096;
export const MAX_INPUT_BYTES = 4 * 1_048_576;
export const MAX_OUTPUT_BYTES = 16 * 1_048_576;
/** An output is JSON from a worker; no honest one is nested deeper. */
export const MAX_OUTPUT_DEPTH = 8;

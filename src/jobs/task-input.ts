import { z } from 'zod';
import type { Task } from '../receipts/statements.ts';

/** What each task is asked and answers. Inputs and outputs are JSON; their bytes are what is hashed. */
const Text = z.string().max(1_000_000);

export const INPUTS = {
  completion: z.strictObject({ prompt: Text.min(1) }),
  chat: z.strictObject({
    messages: z
      .array(z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: Text }))
      .min(1)
      .max(1_000),
  }),
  embedding: z.strictObject({ texts: z.array(Text.min(1)).min(1).max(512) }),
} as const satisfies Record<Task, z.ZodType>;

export type ChatInput = z.infer<(typeof INPUTS)['chat']>;

const FinishReason = z.enum(['stop', 'length', 'none']);

export const OUTPUTS = {
  completion: z.strictObject({ text: z.string(), finish_reason: FinishReason }),
  chat: z.strictObject({
    message: z.strictObject({ role: z.literal('assistant'), content: z.string() }),
    finish_reason: FinishReason,
  }),
  embedding: z.strictObject({ embeddings: z.array(z.array(z.number())) }),
} as const satisfies Record<Task, z.ZodType>;

/** An output is stored beside the evidence up to here, and as a blob above. */
export const INLINE_BYTES = 4_096;
export const MAX_INPUT_BYTES = 4 * 1_048_576;
export const MAX_OUTPUT_BYTES = 16 * 1_048_576;
/** An output is JSON from a worker; nothing honest is nested deeper. */
export const MAX_OUTPUT_DEPTH = 8;

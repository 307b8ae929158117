import { z } from 'zod';
import { FINISH_REASONS, Task } from '../../proof/receipts/fields.ts';
import { Params } from '../../proof/receipts/statements.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';

/** The longest message of either side: an output of 16 MiB, written as JSON. */
export const MAX_MESSAGE_BYTES = 64 * 2 ** 20;
const MAX_TOKENS = 4_194_304;

const Call = z.number().int().min(1);
const Name = z.string().max(64);
const Count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const Tokens = z.array(z.number().int().min(0)).max(MAX_TOKENS);
const Work = z.strictObject({ task: Task, params: Params });

/** What a process asks of the child with its engines: one call to an engine, or that one stops. */
export const EngineOrder = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('run'),
    call: Call,
    model: Name,
    work: Work,
    input: z.unknown(),
    /** Whether somebody reads along. */
    pieces: z.boolean(),
  }),
  z.strictObject({
    kind: z.literal('replay'),
    call: Call,
    model: Name,
    work: Work,
    input: z.unknown(),
    tokens: Tokens,
  }),
  z.strictObject({
    kind: z.literal('recount'),
    call: Call,
    model: Name,
    work: Work,
    input: z.unknown(),
    output: z.string(),
  }),
  z.strictObject({ kind: z.literal('stop'), call: Call }),
]);
export type EngineOrder = z.infer<typeof EngineOrder>;

const Usage = z.strictObject({ inputTokens: Count, outputTokens: Count });
const Result = z.strictObject({
  output: z.string().max(MAX_OUTPUT_BYTES),
  usage: Usage,
  finishReason: z.enum(FINISH_REASONS),
  tokens: Tokens.optional(),
});
// JSON has no infinite numbers; a margin without a value is beyond every limit.
const Margin = z
  .number()
  .nullable()
  .transform((margin) => margin ?? Infinity);

const ENGINE_FAILURES = ['engine_error', 'engine_refused', 'engine_overloaded', 'context_exceeded'] as const;
const LOAD_FAILURES = ['engine_away', 'engine_unfit', 'model_file_unfit', 'key_file_unfit'] as const;

/**
 * What the child says. It has read what strangers wrote: nothing of it is believed but what is of this form.
 */
export const EngineReport = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('loaded'),
    model: z.strictObject({ name: Name, sha256: z.string().max(64), measured: z.boolean() }),
    identity: z.strictObject({ name: Name, version: z.string().max(64), sha256: z.string().max(64) }),
    parallel: z.number().int().min(1).max(1_024),
    repeatable: z.enum(['exact', 'within-tolerance', 'no']),
    replays: z.boolean(),
    recounts: z.boolean(),
  }),
  z.strictObject({
    kind: z.literal('unloaded'),
    model: Name,
    code: z.enum(LOAD_FAILURES),
    message: z.string().max(1_000),
  }),
  z.strictObject({ kind: z.literal('piece'), call: Call, text: z.string().max(MAX_OUTPUT_BYTES) }),
  z.strictObject({ kind: z.literal('ran'), call: Call, result: Result }),
  z.strictObject({
    kind: z.literal('replayed'),
    call: Call,
    replay: z.strictObject({
      result: Result,
      isWhole: z.boolean(),
      margins: z.array(Margin).max(MAX_TOKENS + 1),
    }),
  }),
  z.strictObject({ kind: z.literal('recounted'), call: Call, usage: Usage }),
  z.strictObject({
    kind: z.literal('failed'),
    call: Call,
    code: z.enum(ENGINE_FAILURES),
    message: z.string().max(1_000),
  }),
]);
export type EngineReport = z.infer<typeof EngineReport>;

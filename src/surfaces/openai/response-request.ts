import { z } from 'zod';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import { INPUTS, REASONING_EFFORTS, type ChatInput } from '../../proof/tasks/task-input.ts';
import { MemoryWish } from '../memory/memory-wish.ts';
import { MemoryWork } from '../memory/memory-work.ts';
import { parseRequest } from './parse-request.ts';
import { TIERS, bandOfTier, tierOf } from './service-tier.ts';
import { Extension, Model, extensionOf, reasoningOf, toolsOf } from './requests.ts';

const TextPart = z.strictObject({
  type: z.enum(['input_text', 'output_text', 'text']),
  text: z.string(),
  annotations: z.array(z.unknown()).nullish(),
  logprobs: z.array(z.unknown()).nullish(),
  /** What a client's helper made of the text. */
  parsed: z.unknown().optional(),
});
const RefusalPart = z
  .strictObject({ type: z.literal('refusal'), refusal: z.string() })
  .transform(({ refusal }) => ({ type: 'output_text' as const, text: refusal }));
const Part = z.union([TextPart, RefusalPart]);
const Status = z.string().nullish();
/** An item of an earlier response, by its id. */
const Reference = z.strictObject({ type: z.literal('item_reference').nullish(), id: z.string().max(100) });
/** Models are not shown what they reasoned in earlier turns. */
const Reasoning = z.object({ type: z.literal('reasoning') });
const Item = z.union([
  z.strictObject({
    type: z.literal('message').optional(),
    role: z.enum(['system', 'developer', 'user', 'assistant']),
    content: z.union([z.string(), z.array(Part)]),
    id: z.string().nullish(),
    status: Status,
    phase: z.string().nullish(),
  }),
  z.strictObject({
    type: z.literal('function_call'),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    id: z.string().nullish(),
    status: Status,
    parsed_arguments: z.unknown().optional(),
  }),
  z.strictObject({
    type: z.literal('function_call_output'),
    call_id: z.string(),
    output: z.union([z.string(), z.array(TextPart)]),
    id: z.string().nullish(),
    status: Status,
  }),
  Reasoning,
  Reference,
]);
export type InputItem = z.infer<typeof Item>;

const TextFormat = z.union([
  z.strictObject({ type: z.enum(['text', 'json_object']) }),
  z.strictObject({
    type: z.literal('json_schema'),
    name: z.string(),
    schema: z.looseObject({}),
    description: z.string().nullish(),
    strict: z.boolean().nullish(),
  }),
]);
type TextFormat = z.infer<typeof TextFormat>;

/** The part of OpenAI's `CreateResponse` that this service accepts; the rest is refused by name. */
export const ResponseRequest = z.strictObject({
  model: Model,
  input: z.union([z.string().min(1), z.array(Item).min(1).max(1_000)]),
  instructions: z.string().nullish(),
  max_output_tokens: z.number().int().min(1).max(131_072).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  background: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().nullish() }).nullish(),
  include: z
    .array(z.literal('reasoning.encrypted_content', { error: 'this service has nothing of this kind to include' }))
    .nullish(),
  top_logprobs: z.literal(0, { error: 'this service does not return logprobs of responses' }).nullish(),
  reasoning: z
    .strictObject({
      effort: z.enum(REASONING_EFFORTS).nullish(),
      summary: z
        .enum(['auto', 'detailed'], { error: 'this service shows reasoning whole ("auto", "detailed") or not at all' })
        .nullish()
        .describe('asks to see what the model reasoned, which comes whole'),
    })
    .nullish(),
  store: z.boolean().nullish(),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((metadata) => Object.keys(metadata).length <= 16, { message: 'at most 16 pairs' })
    .nullish(),
  tools: z
    .array(
      z.strictObject({
        type: z.literal('function', { error: 'this service accepts only tools of type function' }),
        name: z.string(),
        description: z.string().nullish(),
        parameters: z.looseObject({}).nullish(),
        strict: z.boolean().nullish(),
      }),
    )
    .nullish(),
  tool_choice: z
    .union([z.enum(['none', 'auto', 'required']), z.strictObject({ type: z.literal('function'), name: z.string() })])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z
    .strictObject({
      format: TextFormat.nullish(),
      verbosity: z.literal('medium', { error: 'this service accepts only "medium" here' }).nullish(),
    })
    .nullish(),
  truncation: z.literal('disabled', { error: 'this service does not truncate' }).nullish(),
  previous_response_id: z.null({ error: 'this service keeps no conversations; send the turns as input' }).optional(),
  service_tier: z.string().max(32).nullish().describe('whose turn it is: `flex`, `default` or `priority`'),
  user: z.string().max(512).nullish(),
  safety_identifier: z.string().max(512).nullish(),
  prompt_cache_key: z.string().max(512).nullish(),
  prompt_cache_retention: z.string().max(64).nullish(),
  countersign: Extension,
  memory: MemoryWish,
});

/** The parts of the request that its response repeats and that the job does not hold. */
export const Surface = z.strictObject({
  background: z.boolean(),
  instructions: z.string().nullable(),
  max_output_tokens: z.number().nullable(),
  temperature: z.number(),
  top_p: z.number(),
  metadata: z.record(z.string(), z.string()),
  store: z.boolean(),
  service_tier: z.enum(TIERS).default('default'),
  /** Whether what the model reasoned is shown. */
  reasoning: z.boolean().default(false),
  /** What becomes of the answer in the memory of an owner. */
  memory: MemoryWork.optional(),
});
export type Surface = z.infer<typeof Surface>;

const DEFAULT_TOKENS = 1_024;
/** Longer instructions stand in the input of the job only. */
const MAX_REPEATED = 4_096;

export function jobOf(request: z.infer<typeof ResponseRequest>): { job: SubmitJob; surface: Surface } {
  const band = { ...bandOfTier(request.service_tier), ...extensionOf(request.countersign) };
  const input = chatInputOf(request);
  const [temperature, top_p] = [request.temperature ?? 1, request.top_p ?? 1];
  return {
    job: {
      model: request.model,
      task: 'chat',
      input,
      params: { max_tokens: request.max_output_tokens ?? DEFAULT_TOKENS, temperature, top_p },
      ...band,
      ...(request.store == null ? {} : { store: request.store }),
    },
    surface: {
      background: request.background === true,
      instructions:
        request.instructions != null && request.instructions.length <= MAX_REPEATED ? request.instructions : null,
      max_output_tokens: request.max_output_tokens ?? null,
      temperature,
      top_p,
      metadata: request.metadata ?? {},
      store: request.store !== false,
      service_tier: tierOf(band.band),
      reasoning: request.reasoning?.summary != null,
    },
  };
}

function chatInputOf(request: z.infer<typeof ResponseRequest>): ChatInput {
  const { text } = request;
  const format = text?.format;
  return parseRequest(INPUTS.chat, {
    messages: [
      ...(request.instructions == null ? [] : [{ role: 'system', content: request.instructions }]),
      ...(typeof request.input === 'string' ? [{ role: 'user', content: request.input }] : turnsOf(request.input)),
    ],
    ...chatTools(request),
    ...(format == null || format.type === 'text' ? {} : { response_format: responseFormat(format) }),
    ...reasoningOf(request.reasoning?.effort, request.reasoning?.summary != null),
  });
}

function chatTools({ tools, tool_choice, parallel_tool_calls }: z.infer<typeof ResponseRequest>): object {
  return toolsOf({
    tools: tools?.map(({ name, description, parameters, strict }) => ({
      type: 'function',
      function: {
        name,
        ...(description == null ? {} : { description }),
        ...(parameters == null ? {} : { parameters }),
        ...(strict == null ? {} : { strict }),
      },
    })),
    tool_choice:
      typeof tool_choice === 'object' && tool_choice !== null
        ? { type: 'function', function: { name: tool_choice.name } }
        : tool_choice,
    parallel_tool_calls,
  });
}

function responseFormat(format: TextFormat): object {
  if (format.type !== 'json_schema') return format;
  const { name, schema, description, strict } = format;
  return {
    type: 'json_schema',
    json_schema: {
      name,
      schema,
      ...(description == null ? {} : { description }),
      ...(strict == null ? {} : { strict }),
    },
  };
}

interface AssistantTurn {
  readonly role: 'assistant';
  content: string | null;
  tool_calls?: object[];
}

/**
 * Items as turns of a chat: what an assistant said and called in a row is one turn, as servers want it before
 * the outputs of its calls.
 */
function turnsOf(items: readonly InputItem[]): object[] {
  const turns: object[] = [];
  let open: AssistantTurn | undefined;
  for (const item of items) {
    if ('role' in item && item.role !== 'assistant') {
      turns.push({ role: item.role === 'developer' ? 'system' : item.role, content: textOf(item.content) });
      open = undefined;
    } else if ('role' in item) {
      open = { role: 'assistant', content: textOf(item.content) };
      turns.push(open);
    } else if (item.type === 'function_call') {
      if (open === undefined) turns.push((open = { role: 'assistant', content: null }));
      const called = { name: item.name, arguments: item.arguments };
      open.tool_calls = [...(open.tool_calls ?? []), { id: item.call_id, type: 'function', function: called }];
    } else if (item.type === 'function_call_output') {
      turns.push({ role: 'tool', content: textOf(item.output), tool_call_id: item.call_id });
      open = undefined;
    }
  }
  return turns;
}

const textOf = (content: string | readonly { readonly text: string }[]): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text).join('');

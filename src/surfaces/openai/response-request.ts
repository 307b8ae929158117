import { z } from 'zod';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import { INPUTS, type ChatInput } from '../../proof/tasks/task-input.ts';
import { parseRequest } from './parse-request.ts';
import { Extension } from './requests.ts';

const Part = z.strictObject({
  type: z.enum(['input_text', 'output_text']),
  text: z.string(),
  annotations: z.array(z.unknown()).optional(),
  logprobs: z.array(z.unknown()).optional(),
});
const Item = z.union([
  z.strictObject({
    type: z.literal('message').optional(),
    role: z.enum(['system', 'developer', 'user', 'assistant']),
    content: z.union([z.string(), z.array(Part).min(1)]),
    id: z.string().optional(),
    status: z.string().optional(),
  }),
  z.strictObject({
    type: z.literal('function_call'),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    id: z.string().optional(),
    status: z.string().optional(),
  }),
  z.strictObject({
    type: z.literal('function_call_output'),
    call_id: z.string(),
    output: z.string(),
    id: z.string().optional(),
    status: z.string().optional(),
  }),
]);

/** The part of OpenAI's `CreateResponse` that this service accepts; the rest is refused by name. */
export const ResponseRequest = z.strictObject({
  model: z.string().min(1).max(63),
  input: z.union([z.string().min(1), z.array(Item).min(1).max(1_000)]),
  instructions: z.string().nullish(),
  max_output_tokens: z.number().int().min(1).max(131_072).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  background: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).nullish(),
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
  tool_choice: z.enum(['none', 'auto', 'required']).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z
    .strictObject({
      format: z
        .union([
          z.strictObject({ type: z.enum(['text', 'json_object']) }),
          z.strictObject({
            type: z.literal('json_schema'),
            name: z.string(),
            schema: z.looseObject({}),
            description: z.string().optional(),
            strict: z.boolean().nullish(),
          }),
        ])
        .optional(),
    })
    .nullish(),
  truncation: z.literal('disabled', { error: 'this service does not truncate' }).nullish(),
  previous_response_id: z.null({ error: 'this service keeps no conversations; send the turns as input' }).optional(),
  service_tier: z.string().max(32).nullish(),
  user: z.string().max(512).nullish(),
  safety_identifier: z.string().max(512).nullish(),
  prompt_cache_key: z.string().max(512).nullish(),
  countersign: Extension,
});

/** The parts of the request that its response repeats and that the job does not hold. */
export const Surface = z.strictObject({
  background: z.boolean(),
  instructions: z.string().nullable(),
  max_output_tokens: z.number().nullable(),
  temperature: z.number(),
  top_p: z.number(),
  metadata: z.record(z.string(), z.string()),
});
export type Surface = z.infer<typeof Surface>;

const DEFAULT_TOKENS = 1_024;
/** Longer instructions stand in the input of the job only. */
const MAX_REPEATED = 4_096;

export function jobOf(request: z.infer<typeof ResponseRequest>): { job: SubmitJob; surface: Surface } {
  const { countersign } = request;
  const input = chatInputOf(request);
  const [temperature, top_p] = [request.temperature ?? 1, request.top_p ?? 1];
  return {
    job: {
      model: request.model,
      task: 'chat',
      input,
      params: { max_tokens: request.max_output_tokens ?? DEFAULT_TOKENS, temperature, top_p },
      ...(countersign?.attestation === undefined ? {} : { attestation: countersign.attestation }),
      ...(countersign?.attempts === undefined ? {} : { attempts: countersign.attempts }),
      ...(countersign?.deadline_ms === undefined ? {} : { deadline_ms: countersign.deadline_ms }),
    },
    surface: {
      background: request.background === true,
      instructions:
        request.instructions != null && request.instructions.length <= MAX_REPEATED ? request.instructions : null,
      max_output_tokens: request.max_output_tokens ?? null,
      temperature,
      top_p,
      metadata: request.metadata ?? {},
    },
  };
}

function chatInputOf(request: z.infer<typeof ResponseRequest>): ChatInput {
  const { tools, tool_choice, text } = request;
  const format = text?.format;
  return parseRequest(INPUTS.chat, {
    messages: [
      ...(request.instructions == null ? [] : [{ role: 'system', content: request.instructions }]),
      ...(typeof request.input === 'string'
        ? [{ role: 'user', content: request.input }]
        : request.input.map(messageOf)),
    ],
    ...(tools == null || tools.length === 0
      ? {}
      : {
          tools: tools.map(({ name, description, parameters, strict }) => ({
            type: 'function',
            function: {
              name,
              ...(description == null ? {} : { description }),
              ...(parameters == null ? {} : { parameters }),
              ...(strict == null ? {} : { strict }),
            },
          })),
          ...(tool_choice == null ? {} : { tool_choice }),
        }),
    ...(format === undefined || format.type === 'text'
      ? {}
      : {
          response_format: !('name' in format)
            ? format
            : {
                type: 'json_schema',
                json_schema: {
                  name: format.name,
                  schema: format.schema,
                  ...(format.description === undefined ? {} : { description: format.description }),
                  ...(format.strict == null ? {} : { strict: format.strict }),
                },
              },
        }),
  });
}

function messageOf(item: z.infer<typeof Item>): object {
  if ('role' in item) {
    const content = typeof item.content === 'string' ? item.content : item.content.map(({ text }) => text).join('');
    return { role: item.role === 'developer' ? 'system' : item.role, content };
  }
  return item.type === 'function_call'
    ? {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: item.call_id, type: 'function', function: { name: item.name, arguments: item.arguments } }],
      }
    : { role: 'tool', content: item.output, tool_call_id: item.call_id };
}

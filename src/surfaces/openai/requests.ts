import { z } from 'zod';
import { Band, DeadlineMs, NotBefore, Priority, type SubmitJob } from '../../proof/contract/submit-job.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { MemoryWish } from '../memory/memory-wish.ts';
import { parseRequest } from './parse-request.ts';
import { bandOfTier, tierOf, type Tier } from './service-tier.ts';
import { seedOf } from '../../proof/tasks/sampling.ts';
import { INPUTS, REASONING_EFFORTS, type ChatInput } from '../../proof/tasks/task-input.ts';
import { Policy } from '../../proof/receipts/statements.ts';

/**
 * Requests in OpenAI's shape (openai/openai-openapi, `CreateChatCompletionRequest` and its kin) as jobs: one
 * job for each choice. What would change the answer and cannot be honoured is refused by name, and never left
 * out in silence.
 */
export const ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

/** What a request asks for. The choice `index` is answered by the job `index`. */
export interface Asked {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly jobs: readonly SubmitJob[];
  /** Choices for one prompt; prompts are counted once in the usage. */
  readonly choicesPerPrompt: number;
  readonly isStreamed: boolean;
  readonly includeUsage: boolean;
  readonly encoding: 'float' | 'base64';
  readonly dimensions: number | undefined;
  /** What serves it, where the caller has asked for any. */
  readonly tier: Tier | undefined;
  /** Whose memories are to stand before the questions; they do not in `jobs`. */
  readonly memory: MemoryWish | undefined;
}

/** As many as OpenAI takes; a job has 512 of them. */
const MAX_TEXTS = 2_048;
export const TEXTS_OF_A_JOB = 512;
const MAX_CHOICES = 8;
const MAX_PROMPTS = 32;
/** Where the caller names no bound. An engine stops earlier where its context ends. */
const CHAT_TOKENS = 1_024;
const COMPLETION_TOKENS = 16;

/** A parameter that is accepted only with the value that changes nothing. */
const only = <T extends string | number | boolean>(value: T) =>
  z.literal(value, { error: `this service accepts only ${JSON.stringify(value)} here` }).nullish();
const nothing = z
  .union([z.strictObject({}), z.tuple([])], { error: 'this service cannot honour this parameter' })
  .nullish();

/** Parameters that do not change the answer. With `store: false` it is erased an hour after its end. */
const neutral = {
  user: z.string().max(512).nullish(),
  safety_identifier: z.string().max(512).nullish(),
  prompt_cache_key: z.string().max(512).nullish(),
  prompt_cache_retention: z.string().max(64).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  store: z.boolean().nullish(),
  service_tier: z.string().max(32).nullish().describe('whose turn it is: `flex`, `default` or `priority`'),
};

const sampling = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  seed: z.number().int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).nullish(),
  stop: z
    .union([z.string().min(1).max(64), z.array(z.string().min(1).max(64)).max(4)], {
      error: 'a text or up to 4 texts of 1 to 64 characters are expected here',
    })
    .nullish(),
  n: z.number().int().min(1).max(MAX_CHOICES).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() })
    .nullish(),
  presence_penalty: only(0),
  frequency_penalty: only(0),
  logit_bias: nothing,
};

/** How the job is to be run and confirmed, for callers that know this service. */
export const Extension = z
  .strictObject({
    attestation: Policy.partial().optional(),
    attempts: z.number().int().min(1).max(10).optional(),
    deadline_ms: DeadlineMs.optional(),
    not_before: NotBefore.optional(),
    priority: Priority.optional(),
    band: Band.optional(),
  })
  .optional();

type Extended = Pick<SubmitJob, 'attestation' | 'attempts' | 'deadline_ms' | 'not_before' | 'priority' | 'band'>;

/** Longer than any name in a catalog, so that a name that is not there answers 404, however long. */
export const Model = z.string().min(1).max(500);
/** Some clients mark what is to be cached; it changes no answer. */
const TextPart = z.strictObject({ type: z.literal('text'), text: z.string(), cache_control: z.unknown().optional() });
const Content = z.union([z.string(), z.array(TextPart).min(1).max(1_000)], {
  error: 'text is expected here, as a string or as parts of type text',
});
const RefusalPart = z
  .strictObject({ type: z.literal('refusal'), refusal: z.string() })
  .transform(({ refusal }) => ({ type: 'text' as const, text: refusal }));
/** A part of what was said, with what the answer to it or a response had beside the text. */
const SaidPart = z.strictObject({
  type: z.enum(['text', 'output_text']),
  text: z.string(),
  index: z.unknown().optional(),
  id: z.unknown().optional(),
  annotations: z.array(z.unknown()).nullish(),
  logprobs: z.array(z.unknown()).nullish(),
  cache_control: z.unknown().optional(),
});
/** What an assistant said, as clients hand it back: also nothing, and in parts of either type. */
const Said = z.union([z.string(), z.array(z.union([SaidPart, RefusalPart])).max(1_000)], {
  error: 'text is expected here, as a string or as parts of type text',
});
const Name = z.string().max(64).nullish();
/** A call as clients hand it back, with what streams and helpers have added to it. */
const Call = z
  .strictObject({
    id: z.string(),
    type: z
      .literal('function')
      .nullish()
      .transform((type) => type ?? 'function'),
    index: z.int().nullish(),
    function: z
      .strictObject({ name: z.string(), arguments: z.string(), parsed_arguments: z.unknown().optional() })
      .transform(({ name, arguments: text }) => ({ name, arguments: text })),
  })
  .transform(({ id, type, function: called }) => ({ id, type, function: called }));

const Message = z.discriminatedUnion('role', [
  z.strictObject({ role: z.enum(['system', 'developer', 'user']), content: Content, name: Name }),
  z.strictObject({
    role: z.literal('assistant'),
    content: Said.nullish(),
    name: Name,
    refusal: z.string().nullish(),
    annotations: z.array(z.unknown()).nullish(),
    audio: z.null({ error: 'this service takes no audio' }).optional(),
    function_call: z.null({ error: 'this service takes calls as tool_calls' }).optional(),
    /** Models are not shown what they reasoned in earlier turns. */
    reasoning_content: z.string().nullish(),
    reasoning: z.string().nullish(),
    reasoning_text: z.string().nullish(),
    reasoning_details: z.array(z.unknown()).nullish(),
    thinking: z.string().nullish(),
    thinking_blocks: z.array(z.unknown()).nullish(),
    /** What a client's helper made of the content. */
    parsed: z.unknown().optional(),
    tool_calls: z.array(Call).nullish(),
  }),
  z.strictObject({ role: z.literal('tool'), content: Content, tool_call_id: z.string(), name: Name }),
]);

export const ChatRequest = z.strictObject({
  model: Model,
  messages: z.array(Message).min(1).max(1_000),
  max_tokens: z.number().int().min(1).max(131_072).nullish(),
  max_completion_tokens: z.number().int().min(1).max(131_072).nullish(),
  tools: z.array(z.unknown()).nullish(),
  tool_choice: z.unknown().optional(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: z.unknown().optional(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  /** What clients of the old kind of calls send beside none of them. */
  functions: nothing,
  function_call: only('none'),
  modalities: z.tuple([z.literal('text')]).nullish(),
  verbosity: only('medium'),
  reasoning_effort: z.enum(REASONING_EFFORTS).nullish().describe('how much the model is to reason, where it does'),
  include_reasoning: z.boolean().nullish().describe('whether `reasoning_content` is part of the answer'),
  ...sampling,
  ...neutral,
  countersign: Extension,
  memory: MemoryWish,
});

export const CompletionRequest = z.strictObject({
  model: Model,
  prompt: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(MAX_PROMPTS)], {
    error: `a text or a list of up to ${MAX_PROMPTS} texts is expected here, not tokens`,
  }),
  max_tokens: z.number().int().min(1).max(131_072).nullish(),
  logprobs: z.null({ error: 'this service does not return logprobs of completions' }).optional(),
  echo: only(false),
  best_of: z.number().int().min(1).max(MAX_CHOICES).nullish(),
  suffix: z.null({ error: 'this service cannot insert text' }).optional(),
  ...sampling,
  ...neutral,
  countersign: Extension,
  memory: MemoryWish,
});

export const EmbeddingRequest = z.strictObject({
  model: Model,
  input: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(MAX_TEXTS)], {
    error: `a text or a list of up to ${MAX_TEXTS} texts is expected here, not tokens`,
  }),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().int().min(1).max(65_536).nullish(),
  user: neutral.user,
  store: neutral.store,
  countersign: Extension,
});

/**
 * What the body asks of this endpoint. Throws CodedError `request_invalid` that names the first parameter at
 * fault.
 */
export function readRequest(endpoint: Endpoint, body: unknown): Asked {
  switch (endpoint) {
    case '/v1/chat/completions':
      return readChat(parseRequest(ChatRequest, body));
    case '/v1/completions':
      return readCompletion(parseRequest(CompletionRequest, body));
    case '/v1/embeddings':
      return readEmbedding(parseRequest(EmbeddingRequest, body));
  }
}

function readChat(request: z.infer<typeof ChatRequest>): Asked {
  if ((request.top_logprobs ?? 0) > 0 && request.logprobs !== true)
    throw new CodedError('request_invalid', 'top_logprobs: allowed only where logprobs is true.', {
      param: 'top_logprobs',
    });
  const input = chatInput(request);
  const params = {
    ...paramsOf(request),
    max_tokens: request.max_completion_tokens ?? request.max_tokens ?? CHAT_TOKENS,
  };
  const job: SubmitJob = { model: request.model, task: 'chat', input, params, ...optionsOf(request) };
  return asked('/v1/chat/completions', request, choicesOf(job, request.n ?? 1), request.n ?? 1);
}

function readCompletion(request: z.infer<typeof CompletionRequest>): Asked {
  const n = request.n ?? 1;
  if (request.best_of != null && request.best_of !== n)
    throw new CodedError('request_invalid', 'best_of: this service accepts only the value of n here.', {
      param: 'best_of',
    });
  const params = { ...paramsOf(request), max_tokens: request.max_tokens ?? COMPLETION_TOKENS };
  const prompts = typeof request.prompt === 'string' ? [request.prompt] : request.prompt;
  const jobs = prompts.flatMap((prompt) =>
    choicesOf({ model: request.model, task: 'completion', input: { prompt }, params, ...optionsOf(request) }, n),
  );
  return asked('/v1/completions', request, jobs, n);
}

function readEmbedding(request: z.infer<typeof EmbeddingRequest>): Asked {
  const texts = typeof request.input === 'string' ? [request.input] : request.input;
  const jobs: SubmitJob[] = [];
  for (let at = 0; at < texts.length; at += TEXTS_OF_A_JOB) {
    const input = parseRequest(INPUTS.embedding, { texts: texts.slice(at, at + TEXTS_OF_A_JOB) }, 'input');
    jobs.push({ model: request.model, task: 'embedding', input, ...optionsOf(request) });
  }
  return {
    ...asked('/v1/embeddings', request, jobs, 1),
    encoding: request.encoding_format ?? 'float',
    dimensions: request.dimensions ?? undefined,
  };
}

function asked(
  endpoint: Endpoint,
  request: {
    model: string;
    stream?: boolean | null | undefined;
    service_tier?: string | null | undefined;
    stream_options?: { include_usage?: boolean | null | undefined } | null | undefined;
    memory?: MemoryWish | undefined;
  },
  jobs: readonly SubmitJob[],
  choicesPerPrompt: number,
): Asked {
  if (request.stream_options != null && request.stream !== true)
    throw new CodedError('request_invalid', 'stream_options: allowed only where stream is true.', {
      param: 'stream_options',
    });
  return {
    endpoint,
    model: request.model,
    jobs,
    choicesPerPrompt,
    isStreamed: request.stream === true,
    includeUsage: request.stream_options?.include_usage === true,
    encoding: 'float',
    dimensions: undefined,
    tier: request.service_tier == null ? undefined : tierOf(jobs[0]?.band),
    memory: request.memory,
  };
}

/** `n` jobs that differ in their seed alone. */
function choicesOf(job: SubmitJob, n: number): SubmitJob[] {
  const seed = job.params?.seed;
  return Array.from({ length: n }, (_, index) =>
    seed === undefined || index === 0 ? job : { ...job, params: { ...job.params, seed: seedOf(seed + index) } },
  );
}

function paramsOf(request: {
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  seed?: number | null | undefined;
  stop?: string | string[] | null | undefined;
}): NonNullable<SubmitJob['params']> {
  const { temperature, top_p, seed, stop } = request;
  return {
    temperature: temperature ?? 1,
    top_p: top_p ?? 1,
    // Clients of llama.cpp say -1 for a seed that is to be chosen; the ticket names the one that was.
    ...(seed == null || seed === -1 ? {} : { seed: seedOf(seed) }),
    stop: stop == null ? [] : typeof stop === 'string' ? [stop] : stop,
  };
}

function optionsOf({
  countersign,
  store,
  service_tier,
}: {
  countersign?: z.infer<typeof Extension>;
  store?: boolean | null | undefined;
  service_tier?: string | null | undefined;
}): Extended & Pick<SubmitJob, 'store'> {
  return {
    ...bandOfTier(service_tier),
    ...extensionOf(countersign),
    ...(store == null ? {} : { store }),
  };
}

/** The members of a job that the extension says. */
export function extensionOf(extension: z.infer<typeof Extension> = {}): Extended {
  const { attestation, attempts, deadline_ms, not_before, priority, band } = extension;
  return {
    ...(attestation === undefined ? {} : { attestation }),
    ...(attempts === undefined ? {} : { attempts }),
    ...(deadline_ms === undefined ? {} : { deadline_ms }),
    ...(not_before === undefined ? {} : { not_before }),
    ...(priority === undefined ? {} : { priority }),
    ...(band === undefined ? {} : { band }),
  };
}

function chatInput(request: z.infer<typeof ChatRequest>): ChatInput {
  const { response_format, logprobs, top_logprobs } = request;
  return parseRequest(INPUTS.chat, {
    messages: request.messages.map(turnOf),
    ...toolsOf({ ...request, tools: request.tools?.map(plainTool) }),
    ...(isPlainText(response_format) ? {} : { response_format }),
    ...(logprobs === true ? { logprobs, ...(top_logprobs == null ? {} : { top_logprobs }) } : {}),
    ...reasoningOf(request.reasoning_effort, request.include_reasoning === true),
  });
}

/** A tool without what is null of it. What stands in the schema of its parameters is kept. */
function plainTool(tool: unknown): unknown {
  if (typeof tool !== 'object' || tool === null || !('function' in tool)) return tool;
  if (typeof tool.function !== 'object' || tool.function === null) return tool;
  const members = Object.entries(tool.function).filter(
    ([name, value]) => value !== null || (name !== 'description' && name !== 'parameters'),
  );
  return { ...tool, function: Object.fromEntries(members) };
}

function turnOf(message: z.infer<typeof Message>): object {
  switch (message.role) {
    case 'tool':
      return { role: 'tool', content: textOf(message.content), tool_call_id: message.tool_call_id };
    case 'assistant': {
      const content = message.content ?? message.refusal;
      return message.tool_calls == null || message.tool_calls.length === 0
        ? { role: 'assistant', content: textOf(content) }
        : {
            role: 'assistant',
            content: content == null ? null : textOf(content),
            tool_calls: message.tool_calls,
          };
    }
    default:
      return { role: message.role === 'developer' ? 'system' : message.role, content: textOf(message.content) };
  }
}

/** An empty list of tools is none, and a choice among none is no choice. */
export function toolsOf(request: {
  readonly tools?: readonly unknown[] | null | undefined;
  readonly tool_choice?: unknown;
  readonly parallel_tool_calls?: boolean | null | undefined;
}): object {
  const { tools, tool_choice, parallel_tool_calls } = request;
  if (tools == null || tools.length === 0) return {};
  return {
    tools,
    ...(tool_choice == null ? {} : { tool_choice }),
    ...(parallel_tool_calls === false ? { parallel_tool_calls } : {}),
  };
}

export function reasoningOf(effort: (typeof REASONING_EFFORTS)[number] | null | undefined, isShown: boolean): object {
  if (effort == null && !isShown) return {};
  return { reasoning: { ...(effort == null ? {} : { effort }), ...(isShown ? { show: true } : {}) } };
}

function isPlainText(format: unknown): boolean {
  return format == null || (typeof format === 'object' && 'type' in format && format.type === 'text');
}

function textOf(content: z.infer<typeof Said> | null | undefined): string {
  return content == null ? '' : typeof content === 'string' ? content : content.map(({ text }) => text).join('');
}

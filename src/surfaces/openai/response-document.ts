import { z } from 'zod';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { Countersigned } from './answer-document.ts';
import { countersigned, seconds, type Done } from './answers.ts';
import { outcomeError } from './outcome-error.ts';
import { TIERS } from './service-tier.ts';
import type { Surface } from './response-request.ts';

export const RESPONSE_STATUSES = ['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled'] as const;
/** Words that clients know; ours stand in the errors of other routes. */
const RESPONSE_ERRORS = ['server_error', 'context_length_exceeded', 'rate_limit_exceeded', 'invalid_prompt'] as const;
type ResponseStatus = (typeof RESPONSE_STATUSES)[number];

const TextPart = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(z.never()),
});
type TextPart = z.infer<typeof TextPart>;

export const ResponseMessage = z.strictObject({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  status: z.enum(['in_progress', 'completed']),
  content: z.array(TextPart),
});
export type ResponseMessage = z.infer<typeof ResponseMessage>;

export const FunctionCall = z.strictObject({
  id: z.string(),
  type: z.literal('function_call'),
  call_id: z.string(),
  name: z.string(),
  arguments: z.string(),
  status: z.enum(['in_progress', 'completed']),
});
export type FunctionCall = z.infer<typeof FunctionCall>;

const SummaryPart = z.strictObject({ type: z.literal('summary_text'), text: z.string() });
/** What a model reasoned, where the caller asked to see it; clients look for it in the summary. */
export const ReasoningItem = z.strictObject({
  id: z.string(),
  type: z.literal('reasoning'),
  status: z.enum(['in_progress', 'completed']),
  summary: z.array(SummaryPart).describe('what the model reasoned, whole; empty where it did not'),
});
export type ReasoningItem = z.infer<typeof ReasoningItem>;
export type OutputItem = ReasoningItem | ResponseMessage | FunctionCall;

/** A response in OpenAI's shape. */
export const ResponseDocument = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int().describe('seconds since 1970'),
  status: z.enum(RESPONSE_STATUSES).describe('`completed` means confirmed'),
  background: z.boolean(),
  error: z.strictObject({ code: z.enum(RESPONSE_ERRORS), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.enum(['max_output_tokens', 'content_filter']) }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  model: z.string(),
  output: z.array(z.discriminatedUnion('type', [ReasoningItem, ResponseMessage, FunctionCall])),
  parallel_tool_calls: z.literal(true),
  previous_response_id: z.null(),
  temperature: z.number(),
  top_p: z.number(),
  tool_choice: z.literal('auto'),
  tools: z.array(z.never()),
  text: z.strictObject({ format: z.strictObject({ type: z.literal('text') }) }),
  truncation: z.literal('disabled'),
  store: z.boolean().describe('false: the response is erased an hour after it is over'),
  service_tier: z.enum(TIERS).describe('what serves it'),
  metadata: z.record(z.string(), z.string()),
  usage: z
    .strictObject({
      input_tokens: z.int(),
      input_tokens_details: z.strictObject({ cached_tokens: z.literal(0) }),
      output_tokens: z.int(),
      output_tokens_details: z.strictObject({ reasoning_tokens: z.literal(0) }),
      total_tokens: z.int(),
    })
    .nullable(),
  countersign: Countersigned,
});
export type ResponseDocument = z.infer<typeof ResponseDocument>;

/** The answer of `DELETE /v1/responses/{response}`. */
export const DeletedResponse = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  deleted: z.literal(true),
});
export type DeletedResponse = z.infer<typeof DeletedResponse>;

/** The id of a job as the id of a response. */
export const responseId = (job: string) => job.replace(/^job_/, 'resp_');
/** The job of which an item of a response is a part; undefined where the id is of another form. */
export const jobOfItem = (item: string): string | undefined => {
  const [, job] = /^(?:msg|fc|rs)_([0-9a-z]{30})(?:_\d{1,3})?$/.exec(item) ?? [];
  return job === undefined ? undefined : `job_${job}`;
};
export const reasoningId = (job: string) => job.replace(/^job_/, 'rs_');
export const messageId = (job: string) => job.replace(/^job_/, 'msg_');
export const textPart = (text: string): TextPart => ({ type: 'output_text', text, annotations: [], logprobs: [] });

function statusOf(view: Pick<JobView, 'state'>, done: Done | undefined): ResponseStatus {
  switch (view.state) {
    case 'queued':
      return 'queued';
    case 'running':
    case 'attesting':
      return 'in_progress';
    case 'done':
      return done !== undefined && cutBy(done) !== null ? 'incomplete' : 'completed';
    case 'cancelled':
      return 'cancelled';
    case 'rejected':
    case 'failed':
    case 'expired':
      return 'failed';
  }
}

/** What ended the answer before its end. */
function cutBy({ output }: Done): ResponseDocument['incomplete_details'] {
  const { finish_reason } = OUTPUTS.chat.parse(output);
  if (finish_reason === 'length') return { reason: 'max_output_tokens' };
  return finish_reason === 'content_filter' ? { reason: 'content_filter' } : null;
}

function errorOf(view: ResponseJob): ResponseDocument['error'] {
  const { code, message } = outcomeError(view);
  const known = {
    context_length_exceeded: code,
    rate_limited: 'rate_limit_exceeded',
    request_invalid: 'invalid_prompt',
  };
  const word = RESPONSE_ERRORS.find((one) => one === Reflect.get(known, code));
  return { code: word ?? 'server_error', message };
}

/** What a response needs of its job. */
type ResponseJob = Pick<JobView, 'id' | 'createdMs' | 'model' | 'state' | 'ending'>;

/** The response of a job; with its answer where the job is done. */
export function responseDocument(view: ResponseJob, surface: Surface, done: Done | undefined): ResponseDocument {
  const status = statusOf(view, done);
  return {
    id: responseId(view.id),
    object: 'response',
    created_at: seconds(view.createdMs),
    status,
    background: surface.background,
    error: status === 'failed' && isFinal(view.state) ? errorOf(view) : null,
    incomplete_details: done === undefined ? null : cutBy(done),
    instructions: surface.instructions,
    max_output_tokens: surface.max_output_tokens,
    model: view.model,
    output: done === undefined ? [] : outputOf(view.id, done, surface),
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: surface.temperature,
    top_p: surface.top_p,
    tool_choice: 'auto',
    tools: [],
    text: { format: { type: 'text' } },
    truncation: 'disabled',
    store: surface.store,
    service_tier: surface.service_tier,
    metadata: surface.metadata,
    usage:
      done === undefined
        ? null
        : {
            input_tokens: done.usage.inputTokens,
            input_tokens_details: { cached_tokens: 0 },
            output_tokens: done.usage.outputTokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: done.usage.inputTokens + done.usage.outputTokens,
          },
    countersign: countersigned(done ?? view, view.state),
  };
}

/**
 * The items of a confirmed answer; their ids name its job. Where reasoning is asked for it comes first, also
 * where there is none: a stream gives it its place before it is known.
 */
export function outputOf(
  job: string,
  done: Pick<Done, 'output'>,
  { reasoning: isShown }: Pick<Surface, 'reasoning'>,
): OutputItem[] {
  const { message } = OUTPUTS.chat.parse(done.output);
  const thought = message.reasoning_content ?? '';
  const summary = thought === '' ? [] : [{ type: 'summary_text' as const, text: thought }];
  const reasoning: ReasoningItem[] = isShown
    ? [{ id: reasoningId(job), type: 'reasoning', status: 'completed', summary }]
    : [];
  const text: ResponseMessage[] =
    message.content === null || (message.content === '' && message.tool_calls !== undefined)
      ? []
      : [
          {
            id: messageId(job),
            type: 'message',
            role: 'assistant',
            status: 'completed',
            content: [textPart(message.content)],
          },
        ];
  const calls = (message.tool_calls ?? []).map((call, index): FunctionCall => ({
    id: `fc_${job.replace(/^job_/, '')}_${index}`,
    type: 'function_call',
    call_id: call.id,
    name: call.function.name,
    arguments: call.function.arguments,
    status: 'completed',
  }));
  return [...reasoning, ...text, ...calls];
}

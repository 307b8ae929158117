import { isFinal } from '../../proof/contract/job-states.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { countersigned, seconds, type Done } from './answers.ts';
import { outcomeError } from './completions.ts';
import type { Surface } from './response-request.ts';

/** The id of a job as the id of a response. */
export const responseId = (job: string) => job.replace(/^job_/, 'resp_');
export const messageId = (job: string) => job.replace(/^job_/, 'msg_');
export const textPart = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] });

function statusOf(view: Pick<JobView, 'state'>, done: Done | undefined): string {
  switch (view.state) {
    case 'queued':
      return 'queued';
    case 'running':
    case 'attesting':
      return 'in_progress';
    case 'done':
      return done !== undefined && OUTPUTS.chat.parse(done.output).finish_reason === 'length'
        ? 'incomplete'
        : 'completed';
    case 'cancelled':
      return 'cancelled';
    case 'rejected':
    case 'failed':
    case 'expired':
      return 'failed';
  }
}

/** What a response needs of its job. */
type ResponseJob = Pick<JobView, 'id' | 'createdMs' | 'model' | 'state' | 'ending'>;

/** A response in OpenAI's shape; `done` where its job is. */
export function responseDocument(view: ResponseJob, surface: Surface, done: Done | undefined) {
  const status = statusOf(view, done);
  return {
    id: responseId(view.id),
    object: 'response',
    created_at: seconds(view.createdMs),
    status,
    background: surface.background,
    error:
      status === 'failed' && isFinal(view.state) ? { code: 'server_error', message: outcomeError(view).message } : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: surface.instructions,
    max_output_tokens: surface.max_output_tokens,
    model: view.model,
    output: done === undefined ? [] : outputOf(view.id, done),
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: surface.temperature,
    top_p: surface.top_p,
    tool_choice: 'auto',
    tools: [],
    text: { format: { type: 'text' } },
    truncation: 'disabled',
    store: true,
    service_tier: 'default',
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
    countersign: countersigned(view.id, view.state),
  };
}

function outputOf(job: string, done: Done): object[] {
  const { message } = OUTPUTS.chat.parse(done.output);
  const text =
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
  const calls = (message.tool_calls ?? []).map((call, index) => ({
    id: `fc_${job.replace(/^job_/, '')}_${index}`,
    type: 'function_call',
    call_id: call.id,
    name: call.function.name,
    arguments: call.function.arguments,
    status: 'completed',
  }));
  return [...text, ...calls];
}

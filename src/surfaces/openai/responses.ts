import { z } from 'zod';
import type { Admission, Submitter } from '../admission/admission.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { followJob } from '../../core/jobs/job-follow.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import type { Jobs } from '../../core/jobs/jobs.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Wake } from '../../core/jobs/wake.ts';

import { outcomeError, type Completions } from './completions.ts';
import { openAiError } from './openai-error.ts';
import { messageId, responseDocument, responseId, textPart } from './response-document.ts';
import { Surface, jobOf, type ResponseRequest } from './response-request.ts';
import { SteadyText } from './steady-text.ts';

const jobId = (response: string) => response.replace(/^resp_/, 'job_');

/**
 * The Responses API of OpenAI: a response is a chat job under another name. Its status says `completed` when the answer is
 * confirmed, and `in_progress` while a worker runs it or the attestor looks at it.
 */
export class Responses {
  readonly #admission: Admission;
  readonly #jobs: Jobs;
  readonly #wake: Wake;
  readonly #completions: Completions;

  constructor(parts: { admission: Admission; jobs: Jobs; wake: Wake; completions: Completions }) {
    this.#admission = parts.admission;
    this.#jobs = parts.jobs;
    this.#wake = parts.wake;
    this.#completions = parts.completions;
  }

  /** The id of the job. */
  async create(
    submitter: Submitter,
    request: z.infer<typeof ResponseRequest>,
    idempotencyKey: string | undefined,
  ): Promise<string> {
    const { job, surface } = jobOf(request);
    return (await this.#admission.submit(submitter, job, { idempotencyKey, surface: JSON.stringify(surface) })).id;
  }

  /** The response as it is now. Throws CodedError `response_not_found`. */
  async get(tenant: string, id: string): Promise<object> {
    const { view, surface } = await this.#read(tenant, id);
    return this.#document(view, surface);
  }

  /** The response once it is over, or when the caller has gone. */
  async wait(tenant: string, job: string, signal: AbortSignal): Promise<object> {
    const view = await this.#jobs.wait(tenant, job, 90_000_000, signal);
    const { surface } = await this.#read(tenant, responseId(job));
    if (view.state === 'failed' || view.state === 'rejected' || view.state === 'expired') throw outcomeError(view);
    return this.#document(view, surface);
  }

  async cancel(tenant: string, id: string): Promise<object> {
    const { view } = await this.#read(tenant, id);
    if ((await this.#jobs.cancel(tenant, view.id)) === 'asked')
      await this.#jobs.wait(tenant, view.id, 3_000, new AbortController().signal);
    return this.get(tenant, id);
  }

  /**
   * Frames of an event stream after a sequence number. The same documents give the same frames under the same numbers, while
   * provisional pieces are kept; the last frame always comes.
   */
  async *stream(tenant: string, id: string, startingAfter: number, signal: AbortSignal): AsyncGenerator<string> {
    const { view: first, surface } = await this.#read(tenant, id);
    let number = -1;
    const frame = (type: string, data: object, isLast = false): string => {
      number = isLast ? Math.max(number, startingAfter) + 1 : number + 1;
      return number > startingAfter
        ? `event: ${type}\ndata: ${JSON.stringify({ type, ...data, sequence_number: number })}\n\n`
        : '';
    };
    const item = { output_index: 0, item_id: messageId(first.id) };
    const place = { ...item, content_index: 0 };
    const begun = responseDocument({ ...first, state: 'queued', ending: undefined }, surface, undefined);
    const message = (status: string, content: readonly object[]) => ({
      output_index: 0,
      item: { id: item.item_id, type: 'message', role: 'assistant', status, content },
    });
    try {
      yield frame('response.created', { response: begun });
      const text = new SteadyText();
      let isOpen = false;
      const open = () => {
        if (isOpen) return '';
        isOpen = true;
        return (
          frame('response.in_progress', { response: { ...begun, status: 'in_progress' } }) +
          frame('response.output_item.added', message('in_progress', [])) +
          frame('response.content_part.added', { ...place, part: textPart('') })
        );
      };
      let last: JobView = first;
      for await (const { event, view } of followJob(this.#jobs, this.#wake, { tenant, id: first.id }, signal)) {
        last = view;
        const more = text.take(event);
        if (more !== '') yield open() + frame('response.output_text.delta', { ...place, delta: more, logprobs: [] });
      }
      if (!isFinal(last.state)) return;
      if (last.state !== 'done') {
        yield frame(
          last.state === 'cancelled' ? 'response.cancelled' : 'response.failed',
          { response: await this.#document(last, surface) },
          true,
        );
        return;
      }
      const [done] = await this.#completions.done(tenant, [last.id], signal);
      if (done === undefined) return;
      const { message: answer } = OUTPUTS.chat.parse(done.output);
      const whole = answer.content ?? '';
      const rest = text.confirm(whole);
      if (rest !== '') yield open() + frame('response.output_text.delta', { ...place, delta: rest, logprobs: [] });
      yield (
        open() +
        frame('response.output_text.done', { ...place, text: whole, logprobs: [] }) +
        frame('response.content_part.done', { ...place, part: textPart(whole) }) +
        frame('response.output_item.done', message('completed', [textPart(whole)]))
      );
      const response = responseDocument(last, surface, done);
      yield frame(response.status === 'incomplete' ? 'response.incomplete' : 'response.completed', { response }, true);
    } catch (error) {
      if (signal.aborted) return;
      const coded =
        error instanceof CodedError
          ? error
          : new CodedError('internal', 'The stream failed on our side; the job goes on.', { cause: error });
      const said = openAiError(coded);
      yield frame('error', { ...said, code: said.error.code, message: said.error.message, param: null }, true);
    }
  }

  async #document(view: JobView, surface: Surface): Promise<object> {
    const [done] =
      view.state === 'done'
        ? await this.#completions.done(view.tenant, [view.id], new AbortController().signal)
        : [undefined];
    return responseDocument(view, surface, done);
  }

  async #read(tenant: string, id: string): Promise<{ view: JobView; surface: Surface }> {
    const unknown = new CodedError('response_not_found', 'There is no response with this id.');
    const view = id.startsWith('resp_')
      ? await this.#jobs.get(tenant, jobId(id)).catch((error: unknown) => {
          throw error instanceof CodedError && error.code === 'job_not_found' ? unknown : error;
        })
      : undefined;
    const surface = view === undefined ? undefined : await this.#jobs.surface(view.id);
    if (view === undefined || surface === undefined) throw unknown;
    return { view, surface: Surface.parse(JSON.parse(surface)) };
  }
}

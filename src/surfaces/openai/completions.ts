import type { Admission, Admitted, SubmitOptions, Submitter } from '../admission/admission.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { followJob } from '../../core/jobs/job-follow.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { Jobs } from '../../core/jobs/jobs.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Wake } from '../../core/jobs/wake.ts';
import { answerId, answerOf, countersigned, countersignedAll, seconds, usageOf, type Done } from './answers.ts';
import { openAiError } from './openai-error.ts';
import type { Asked } from './requests.ts';
import { SteadyText } from './steady-text.ts';

/** No job lives longer than its deadline and the time to confirm it. */
const MAX_WAIT_MS = 90_000_000;

/** Answers requests in OpenAI's shape by jobs, and nothing before it is confirmed but what says that it is not. */
export class Completions {
  readonly #admission: Admission;
  readonly #jobs: Jobs;
  readonly #wake: Wake;

  constructor(parts: { admission: Admission; jobs: Jobs; wake: Wake }) {
    this.#admission = parts.admission;
    this.#jobs = parts.jobs;
    this.#wake = parts.wake;
  }

  /** The jobs, one for each choice. Where one is refused, those already accepted are cancelled. */
  async submit(submitter: Submitter, asked: Pick<Asked, 'jobs'>, options: SubmitOptions): Promise<Admitted[]> {
    const { idempotencyKey } = options;
    const results = await Promise.allSettled(
      asked.jobs.map((job, index) =>
        this.#admission.submit(submitter, job, {
          ...options,
          idempotencyKey: idempotencyKey === undefined || index === 0 ? idempotencyKey : `${idempotencyKey} ${index}`,
        }),
      ),
    );
    const admitted = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const refused = results.find((result) => result.status === 'rejected');
    if (refused === undefined) return admitted;
    await this.cancel(
      submitter.tenant,
      admitted.map(({ id }) => id),
    );
    throw refused.reason;
  }

  async cancel(tenant: string, ids: readonly string[]): Promise<void> {
    await Promise.allSettled(ids.map((id) => this.#jobs.cancel(tenant, id)));
  }

  /** The confirmed answer. Throws CodedErrors that say how the first job that is not done ended. */
  async answer(tenant: string, asked: Asked, ids: readonly string[], signal: AbortSignal): Promise<object> {
    return answerOf(asked, await this.done(tenant, ids, signal));
  }

  /** The jobs once all of them are done; throws as `answer`. */
  done(tenant: string, ids: readonly string[], signal: AbortSignal): Promise<Done[]> {
    return Promise.all(ids.map((id) => this.#done(tenant, id, signal)));
  }

  /** What workers say, before anybody has confirmed it: without usage, and with a word that it is provisional. */
  async provisionalAnswer(tenant: string, asked: Asked, ids: readonly string[], signal: AbortSignal): Promise<object> {
    const texts = await Promise.all(ids.map((id) => this.#uncommittedText(tenant, id, signal)));
    const isChat = asked.endpoint === '/v1/chat/completions';
    return {
      id: answerId(asked, ids[0] ?? ''),
      object: isChat ? 'chat.completion' : 'text_completion',
      created: seconds(Date.now()),
      model: asked.model,
      choices: texts.map((text, index) => ({
        index,
        ...(isChat ? { message: { role: 'assistant', content: text, refusal: null } } : { text }),
        logprobs: null,
        finish_reason: null,
      })),
      countersign: { ...countersignedAll(ids, 'attesting'), provisional: true },
    };
  }

  /**
   * Frames of an event stream: pieces as they are written, and for each choice a last frame that comes after the verdict and
   * carries it. What goes wrong is a frame with `error`, after which nothing comes.
   */
  async *stream(tenant: string, asked: Asked, ids: readonly string[], signal: AbortSignal): AsyncGenerator<string> {
    const isChat = asked.endpoint === '/v1/chat/completions';
    const head = {
      id: answerId(asked, ids[0] ?? ''),
      object: isChat ? 'chat.completion.chunk' : 'text_completion',
      created: seconds(Date.now()),
      model: asked.model,
      ...(asked.includeUsage ? { usage: null } : {}),
    };
    const frame = (choice: object, more: object = {}) =>
      `data: ${JSON.stringify({ ...head, choices: [choice], ...more })}\n\n`;
    const done: Done[] = [];
    try {
      if (isChat)
        for (const [index, id] of ids.entries())
          yield frame(
            { index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null },
            { countersign: { ...countersigned(id, 'queued'), provisional: true } },
          );
      for await (const { index, piece } of interleave(ids.map((id) => this.#pieces(tenant, id, signal)))) {
        if (typeof piece === 'string') {
          yield frame(
            isChat
              ? { index, delta: { content: piece }, logprobs: null, finish_reason: null }
              : { index, text: piece, logprobs: null, finish_reason: null },
          );
          continue;
        }
        done[index] = piece;
        yield frame(lastChoice(isChat, index, piece.output), { countersign: countersigned(piece.id, 'done') });
      }
      if (asked.includeUsage)
        yield `data: ${JSON.stringify({ ...head, choices: [], usage: usageOf(asked, done) })}\n\n`;
      yield 'data: [DONE]\n\n';
    } catch (error) {
      if (signal.aborted) return;
      const coded =
        error instanceof CodedError
          ? error
          : new CodedError('internal', 'The stream failed on our side; the job goes on.', { cause: error });
      yield `data: ${JSON.stringify({ ...openAiError(coded), countersign: countersigned(ids[0] ?? '', 'unconfirmed') })}\n\n`;
    }
  }

  /** Pieces of text as they are written, then the confirmed job. Throws where what was confirmed is not what was written. */
  async *#pieces(tenant: string, id: string, signal: AbortSignal): AsyncGenerator<string | Done> {
    const text = new SteadyText();
    let last: JobView | undefined;
    for await (const { event, view } of followJob(this.#jobs, this.#wake, { tenant, id }, signal)) {
      last = view;
      const more = text.take(event);
      if (more !== '') yield more;
    }
    if (last === undefined || !isFinal(last.state)) return;
    const done = await this.#confirmed(last);
    const rest = text.confirm(textOf(done.output));
    if (rest !== '') yield rest;
    yield done;
  }

  async #done(tenant: string, id: string, signal: AbortSignal): Promise<Done> {
    const view = await this.#jobs.wait(tenant, id, MAX_WAIT_MS, signal);
    return this.#confirmed(view);
  }

  async #confirmed(view: JobView): Promise<Done> {
    if (view.state !== 'done') throw outcomeError(view);
    const { bytes, usage, verdict } = await this.#jobs.output(view.tenant, view.id);
    return { id: view.id, createdMs: view.createdMs, output: JSON.parse(bytes.toString('utf8')), usage, verdict };
  }

  /** The text of the first attempt that is committed. */
  async #uncommittedText(tenant: string, id: string, signal: AbortSignal): Promise<string> {
    let text = '';
    for await (const { event, view } of followJob(this.#jobs, this.#wake, { tenant, id }, signal)) {
      if (event.type === 'chunk') text += String(event.data['text']);
      else if (event.data['state'] === 'running') text = '';
      else if (event.data['state'] === 'attesting') return text;
      else if (isFinal(view.state) && event.data['state'] === view.state && view.state !== 'done')
        throw outcomeError(view);
    }
    return text;
  }
}

/** How a job that did not end done looks to whoever waits for an answer. */
export function outcomeError(view: Pick<JobView, 'id' | 'state' | 'ending'>): CodedError {
  const { id, state, ending } = view;
  const headers = { 'countersign-job': id, 'countersign-state': state };
  const detail = ending?.detail ?? '';
  switch (state) {
    case 'rejected':
      return new CodedError('answer_refuted', `The attestor refuted every answer to job ${id}: ${detail}`, { headers });
    case 'expired':
      return new CodedError('job_expired', `Job ${id} expired: ${detail}`, { headers });
    case 'cancelled':
      return new CodedError('job_cancelled', `Job ${id} was cancelled.`, { headers });
    case 'failed':
      return ending?.code === 'engine_refused'
        ? new CodedError('request_invalid', `The model does not take this request: ${detail}`, { headers })
        : new CodedError('job_failed', `Job ${id} failed: ${detail}`, { headers });
    default:
      return new CodedError('job_not_done', `Job ${id} is ${state}.`, { headers });
  }
}

function textOf(output: unknown): string {
  const chat = OUTPUTS.chat.safeParse(output);
  return chat.success ? (chat.data.message.content ?? '') : OUTPUTS.completion.parse(output).text;
}

function lastChoice(isChat: boolean, index: number, output: unknown): object {
  if (!isChat) {
    const { finish_reason } = OUTPUTS.completion.parse(output);
    return { index, text: '', logprobs: null, finish_reason };
  }
  const { message, finish_reason, logprobs } = OUTPUTS.chat.parse(output);
  const { tool_calls } = message;
  return {
    index,
    delta: tool_calls === undefined ? {} : { tool_calls: tool_calls.map((call, at) => ({ index: at, ...call })) },
    logprobs: logprobs ?? null,
    finish_reason,
  };
}

/** What all sources say, as it comes, each with the number of its source. */
async function* interleave<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<{ index: number; piece: T }> {
  const next = async (source: AsyncGenerator<T>, index: number) => ({ source, index, step: await source.next() });
  const pending = new Map(sources.map((source, index) => [index, next(source, index)]));
  try {
    while (pending.size > 0) {
      const { source, index, step } = await Promise.race(pending.values());
      if (step.done === true) {
        pending.delete(index);
        continue;
      }
      pending.set(index, next(source, index));
      yield { index, piece: step.value };
    }
  } finally {
    // The rest are told to stop, and nobody waits for what they say then.
    for (const promise of pending.values()) promise.catch(() => undefined);
    for (const source of sources) source.return(undefined).catch(() => undefined);
  }
}

import type { Admission, Admitted, SubmitOptions } from '../admission/admission.ts';
import type { Submitter } from '../admission/pending-job.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { followJob } from '../../core/jobs/job-follow.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { Jobs } from '../../core/jobs/jobs.ts';
import { textOfOutput } from '../../proof/tasks/task-input.ts';
import type { Wake } from '../../core/jobs/wake.ts';
import type { AnswerDocument, ChatCompletion, TextCompletion } from './answer-document.ts';
import { answerId, answerOf, countersignedAll, provisional, seconds, tierIn } from './answers.ts';
import type { Done, ReadDone } from './answers.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { outcomeError } from './outcome-error.ts';
import type { Asked } from './requests.ts';
import { SteadyText } from './steady-text.ts';

/** No job lives longer than its deadline and the time to confirm it. */
const MAX_WAIT_MS = 90_000_000;

/** Answers requests in OpenAI's shape by jobs. What is not confirmed yet is marked as provisional. */
export class Completions {
  readonly #admission: Admission;
  readonly #jobs: Jobs;
  readonly #wake: Wake;

  constructor(parts: { admission: Admission; jobs: Jobs; wake: Wake }) {
    this.#admission = parts.admission;
    this.#jobs = parts.jobs;
    this.#wake = parts.wake;
  }

  /** The jobs, one for each choice: all of them are accepted or none. Throws as `Admission.submitAll`. */
  submit(submitter: Submitter, asked: Pick<Asked, 'jobs'>, options: SubmitOptions): Promise<Admitted[]> {
    return this.#admission.submitAll(submitter, asked.jobs, options);
  }

  /**
   * The jobs that requests under these idempotency keys have made, each request asking for so many: undefined
   * for those that were not made. They are not made within so long (ms) either.
   */
  async close(
    tenant: string,
    requests: readonly { readonly idempotencyKey: string; readonly jobs: number }[],
    ms: number,
  ): Promise<(string | undefined)[][]> {
    const found = await this.#admission.closeKeys(
      tenant,
      requests.flatMap(({ idempotencyKey, jobs }) =>
        Array.from({ length: jobs }, (_, index) => keyOf(idempotencyKey, index)),
      ),
      ms,
    );
    let at = 0;
    return requests.map(({ jobs }) => found.slice(at, (at += jobs)));
  }

  async cancel(tenant: string, ids: readonly string[]): Promise<void> {
    await Promise.allSettled(ids.map((id) => this.#jobs.cancel(tenant, id)));
  }

  /** The confirmed answer. Throws as `done`. */
  async answer(tenant: string, asked: Asked, ids: readonly string[], signal: AbortSignal): Promise<AnswerDocument> {
    return answerOf(asked, await this.done(tenant, ids, signal));
  }

  /**
   * The jobs that are done, once all of them have ended: what is charged is handed out, also where another
   * choice was refuted or failed. Throws CodedErrors that say how the first job ended where none is done.
   */
  async done(tenant: string, ids: readonly string[], signal: AbortSignal): Promise<ReadDone[]> {
    const results = await Promise.allSettled(ids.map((id, index) => this.#done(tenant, { id, index }, signal)));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    const done = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const passing = refused.find((reason) => !isOutcome(reason));
    if (passing !== undefined || done.length === 0) throw passing ?? refused[0];
    return done;
  }

  /** What workers have written, before it is confirmed: without usage, and marked as provisional. */
  async provisionalAnswer(
    tenant: string,
    asked: Asked,
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<ChatCompletion | TextCompletion> {
    const texts = await Promise.all(ids.map((id) => this.#uncommittedText(tenant, id, signal)));
    const head = {
      id: answerId(asked, ids[0] ?? ''),
      created: seconds(Date.now()),
      model: asked.model,
      ...tierIn(asked),
    };
    const countersign = {
      ...countersignedAll(
        ids.map((id) => ({ id })),
        'attesting',
      ),
      provisional: true,
    } as const;
    if (asked.endpoint === '/v1/chat/completions')
      return {
        object: 'chat.completion',
        ...head,
        choices: texts.map((content, index) => ({
          index,
          message: { role: 'assistant', content, refusal: null },
          logprobs: null,
          finish_reason: null,
        })),
        countersign,
      };
    return {
      object: 'text_completion',
      ...head,
      choices: texts.map((text, index) => ({ index, text, logprobs: null, finish_reason: null })),
      countersign,
    };
  }

  /**
   * Frames of an event stream: pieces as they are written, and for each choice a last frame, which comes
   * after the verdict and carries it. An error is a frame with `error`, and the last one.
   */
  async *stream(tenant: string, asked: Asked, ids: readonly string[], signal: AbortSignal): AsyncGenerator<string> {
    const chunks = new ChunkWriter(asked, ids[0] ?? '');
    const done: Done[] = [];
    try {
      for (const [index, id] of ids.entries()) {
        const opening = chunks.opening(index, provisional(id, 'queued'));
        if (opening !== undefined) yield opening;
      }
      let refused: CodedError | undefined;
      for await (const { index, piece } of interleave(
        ids.map((id, at) => this.#pieces(tenant, { id, index: at }, signal)),
      )) {
        if (typeof piece === 'string') {
          yield chunks.piece(index, piece);
        } else if ('refused' in piece) {
          // The other choices go on: they are paid for.
          refused ??= piece.refused;
        } else {
          done.push(piece);
          yield chunks.last(index, piece);
        }
      }
      if (refused !== undefined) throw refused;
      yield chunks.end(done);
    } catch (error) {
      if (signal.aborted) return;
      yield chunks.error(
        error instanceof CodedError
          ? error
          : new CodedError('internal', 'The stream failed on our side; the job goes on.', { cause: error }),
      );
    }
  }

  /**
   * Pieces of text as they are written, then the confirmed job, or how it ended otherwise. Throws where the
   * confirmed text is another one.
   */
  async *#pieces(
    tenant: string,
    { id, index }: Choice,
    signal: AbortSignal,
  ): AsyncGenerator<string | Done | { readonly refused: CodedError }> {
    const text = new SteadyText();
    let last: JobView | undefined;
    for await (const { event, view } of followJob(this.#jobs, this.#wake, { whose: tenant, id }, signal)) {
      last = view;
      const more = text.take(event);
      if (more !== '') yield more;
    }
    if (last === undefined || !isFinal(last.state)) return;
    if (last.state !== 'done') {
      yield { refused: outcomeError(last) };
      return;
    }
    const done = await this.#confirmed(last, index);
    const rest = text.confirm(textOfOutput(done.output));
    if (rest !== '') yield rest;
    yield done;
  }

  async #done(tenant: string, { id, index }: Choice, signal: AbortSignal): Promise<ReadDone> {
    const view = await this.#jobs.wait(tenant, id, MAX_WAIT_MS, signal);
    return this.#confirmed(view, index);
  }

  async #confirmed(view: JobView, index: number): Promise<ReadDone> {
    if (view.state !== 'done') throw outcomeError(view);
    const { bytes, usage, verdict } = await this.#jobs.output(view.tenant, view.id);
    return {
      id: view.id,
      index,
      createdMs: view.createdMs,
      bytes: bytes.length,
      output: JSON.parse(bytes.toString('utf8')),
      usage,
      verdict,
    };
  }

  /** The text of the first attempt that is committed. */
  async #uncommittedText(tenant: string, id: string, signal: AbortSignal): Promise<string> {
    let text = '';
    for await (const { event, view } of followJob(this.#jobs, this.#wake, { whose: tenant, id }, signal)) {
      if (event.type === 'chunk') text += String(event.data['text']);
      else if (event.data['state'] === 'running') text = '';
      else if (event.data['state'] === 'attesting') return text;
      else if (isFinal(view.state) && event.data['state'] === view.state && view.state !== 'done')
        throw outcomeError(view);
    }
    return text;
  }
}

/** A job of a request, and its place among the choices. */
interface Choice {
  readonly id: string;
  readonly index: number;
}

/** Whether an error says how a job ended, and not that this could not be seen. */
function isOutcome(error: unknown): boolean {
  return error instanceof CodedError && error.headers['countersign-state'] !== undefined;
}

/** The idempotency key of one job of a request. */
function keyOf(idempotencyKey: string, index: number): string {
  return index === 0 ? idempotencyKey : `${idempotencyKey} ${index}`;
}

/** The values of all sources as they come, each with the number of its source. */
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
    // The other sources are told to stop. Whatever they still yield or throw is of no use to anyone.
    for (const promise of pending.values()) promise.catch(() => undefined);
    for (const source of sources) source.return(undefined).catch(() => undefined);
  }
}

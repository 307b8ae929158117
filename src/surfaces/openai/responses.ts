import type { z } from 'zod';
import type { Recall } from '../memory/recall.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import type { Admission, SubmitOptions } from '../admission/admission.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { followJob } from '../../core/jobs/job-follow.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { wasErased, type Jobs } from '../../core/jobs/jobs.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Wake } from '../../core/jobs/wake.ts';
import type { Whose } from '../../core/jobs/whose.ts';
import type { Completions } from './completions.ts';
import { outcomeError } from './outcome-error.ts';
import { jobOfItem, outputOf, responseDocument, responseId, type ResponseDocument } from './response-document.ts';
import { ResponseFrames } from './response-frames.ts';
import { Surface, jobOf, type InputItem, type ResponseRequest } from './response-request.ts';
import { SteadyText } from './steady-text.ts';

const jobId = (response: string) => response.replace(/^resp_/, 'job_');

/**
 * The Responses API of OpenAI: a response is a chat job under another name. Its status says `completed` when
 * the answer is confirmed, and `in_progress` while a worker runs it or the attestor looks at it.
 */
export class Responses {
  readonly #admission: Admission;
  readonly #jobs: Jobs;
  readonly #wake: Wake;
  readonly #completions: Completions;
  readonly #recall: Recall;

  constructor(parts: { admission: Admission; jobs: Jobs; wake: Wake; completions: Completions; recall: Recall }) {
    this.#recall = parts.recall;
    this.#admission = parts.admission;
    this.#jobs = parts.jobs;
    this.#wake = parts.wake;
    this.#completions = parts.completions;
  }

  /** The id of the job. The request may name items of earlier answers among those that are `readable`. */
  async create(
    caller: Caller,
    readable: Whose,
    request: z.infer<typeof ResponseRequest>,
    options: Pick<SubmitOptions, 'idempotencyKey' | 'request'>,
  ): Promise<string> {
    const { job, surface } = jobOf(await this.#resolved(readable, request));
    if (request.memory === undefined) return this.#submit(caller, [job], surface, options);
    const { jobs, options: shown, work } = await this.#recall.into(caller, request.memory, [job]);
    const kept = { ...surface, store: false, ...(work === undefined ? {} : { memory: work }) };
    return this.#submit(caller, jobs, kept, { ...options, ...shown });
  }

  async #submit(caller: Caller, jobs: readonly SubmitJob[], surface: Surface, options: SubmitOptions): Promise<string> {
    const [admitted] = await this.#admission.submitAll(caller, jobs, { ...options, surface: JSON.stringify(surface) });
    if (admitted === undefined) throw new Error('A response is made of one job.');
    return admitted.id;
  }

  /** The request, with the items of earlier responses that it names in their places. */
  async #resolved(whose: Whose, request: z.infer<typeof ResponseRequest>): Promise<z.infer<typeof ResponseRequest>> {
    if (typeof request.input === 'string') return request;
    const input: InputItem[] = [];
    for (const [index, item] of request.input.entries())
      input.push(
        'role' in item || (item.type != null && item.type !== 'item_reference')
          ? item
          : await this.#item(whose, item.id, index),
      );
    return { ...request, input };
  }

  /** An item of one of these answers. Throws CodedError `request_invalid` where there is none. */
  async #item(whose: Whose, id: unknown, index: number): Promise<InputItem> {
    const job = typeof id === 'string' ? jobOfItem(id) : undefined;
    const output = job === undefined ? undefined : await this.#jobs.output(whose, job).catch(() => undefined);
    const document: unknown = output && JSON.parse(output.bytes.toString('utf8'));
    const isChat = OUTPUTS.chat.safeParse(document).success;
    const found =
      job !== undefined && isChat
        ? outputOf(job, { output: document }, { reasoning: true }).find((one) => one.id === id)
        : undefined;
    if (found === undefined)
      throw new CodedError('request_invalid', `input.${index}.id: there is no item with this id; send it whole.`, {
        param: `input.${index}.id`,
      });
    return found;
  }

  /** The response as it is now. Throws CodedErrors `response_not_found` and `erased`. */
  async get(whose: Whose, id: string): Promise<ResponseDocument> {
    const { view, surface } = await this.#read(whose, id);
    return this.#document(view, surface);
  }

  /** The response once it is over, or when the caller has gone. */
  async wait(whose: Whose, job: string, signal: AbortSignal): Promise<ResponseDocument> {
    const view = await this.#jobs.wait(whose, job, 90_000_000, signal);
    const { surface } = await this.#read(whose, responseId(job));
    if (view.state === 'failed' || view.state === 'rejected' || view.state === 'expired') throw outcomeError(view);
    return this.#document(view, surface);
  }

  /** The job of a response, erased or not. Throws CodedError `response_not_found`. */
  async erasable(whose: Whose, id: string): Promise<JobView> {
    const view = await this.#job(whose, id);
    // What is left of an erased job does not say by which surface it came.
    if (surfaceOf(view) === undefined && view.erased === undefined) throw unknown();
    return view;
  }

  async cancel(whose: Whose, id: string): Promise<ResponseDocument> {
    const { view } = await this.#read(whose, id);
    if ((await this.#jobs.cancel(whose, view.id)) === 'asked')
      await this.#jobs.wait(whose, view.id, 3_000, new AbortController().signal);
    return this.get(whose, id);
  }

  /**
   * Frames of an event stream after a sequence number. The same documents give the same frames under the same
   * numbers as long as provisional pieces are kept; the last frame always comes.
   */
  async *stream(whose: Whose, id: string, startingAfter: number, signal: AbortSignal): AsyncGenerator<string> {
    const { view: first, surface } = await this.#read(whose, id);
    const begun = responseDocument({ ...first, state: 'queued', ending: undefined }, surface, undefined);
    const frames = new ResponseFrames(first.id, begun, startingAfter, surface);
    try {
      yield frames.created();
      const text = new SteadyText();
      let last: JobView = first;
      for await (const { event, view } of followJob(this.#jobs, this.#wake, { whose, id: first.id }, signal)) {
        last = view;
        const more = text.take(event);
        if (more !== '') yield frames.delta(more);
      }
      if (!isFinal(last.state)) return;
      if (last.state !== 'done') {
        yield frames.ended(await this.#document(last, surface));
        return;
      }
      const [done] = await this.#completions.done(last.tenant, [last.id], signal);
      if (done === undefined) return;
      const whole = OUTPUTS.chat.parse(done.output).message.content ?? '';
      const rest = text.confirm(whole);
      if (rest !== '') yield frames.delta(rest);
      yield frames.whole(outputOf(last.id, done, surface));
      yield frames.ended(responseDocument(last, surface, done));
    } catch (error) {
      if (signal.aborted) return;
      yield frames.error(
        error instanceof CodedError
          ? error
          : new CodedError('internal', 'The stream failed on our side; the job goes on.', { cause: error }),
      );
    }
  }

  async #document(view: JobView, surface: Surface): Promise<ResponseDocument> {
    const [done] =
      view.state === 'done'
        ? await this.#completions.done(view.tenant, [view.id], new AbortController().signal)
        : [undefined];
    return responseDocument(view, surface, done);
  }

  async #read(whose: Whose, id: string): Promise<{ view: JobView; surface: Surface }> {
    const view = await this.#job(whose, id);
    if (view.erased !== undefined) throw wasErased(view.erased);
    const surface = surfaceOf(view);
    if (surface === undefined) throw unknown();
    return { view, surface };
  }

  async #job(whose: Whose, id: string): Promise<JobView> {
    if (!id.startsWith('resp_')) throw unknown();
    return this.#jobs.get(whose, jobId(id)).catch((error: unknown) => {
      throw error instanceof CodedError && error.code === 'job_not_found' ? unknown() : error;
    });
  }
}

/** What the job keeps for its response; undefined where it came otherwise, or asks a question again. */
function surfaceOf({ surface }: JobView): Surface | undefined {
  return surface === undefined ? undefined : Surface.safeParse(JSON.parse(surface)).data;
}

const unknown = () => new CodedError('response_not_found', 'There is no response with this id.');

import { requireNoMemory } from '../memory/memory-wish.ts';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { textOfOutput } from '../../proof/tasks/task-input.ts';
import { provisional, type Done } from '../openai/answers.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { outputOf, responseDocument, type ResponseDocument } from '../openai/response-document.ts';
import { ResponseFrames } from '../openai/response-frames.ts';
import { ResponseRequest, jobOf } from '../openai/response-request.ts';
import { firstDifference } from './difference.ts';
import type { ProvisionalStream, Question } from './question.ts';
import { Unverified } from './unverified.ts';
import { codeOf } from './upstream.ts';

const Event = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('response.output_text.delta'), delta: z.string() }),
  z.looseObject({ type: z.enum(['response.completed', 'response.incomplete']), response: z.unknown() }),
  z.looseObject({
    type: z.enum(['response.failed', 'response.cancelled']),
    response: z.looseObject({ error: z.looseObject({ message: z.string() }).nullish() }),
  }),
  z.looseObject({ type: z.literal('error'), message: z.string(), code: z.string().nullish() }),
]);

/** A response, which is answered by one job. */
export class ResponseQuestion implements Question {
  readonly path = '/v1/responses';
  readonly body: Question['body'];
  readonly isStreamed: boolean;
  readonly #model: string;
  readonly #job: ReturnType<typeof jobOf>;

  /** Throws CodedError `request_invalid` also for what only the service could know. */
  constructor(body: Question['body']) {
    const request = parseRequest(ResponseRequest, body);
    if (request.background === true)
      throw new CodedError('request_invalid', 'background: a proxy answers with what is confirmed, and not before.', {
        param: 'background',
      });
    requireNoMemory(request.memory, 'through a proxy, which cannot make the input again');
    requireWhole(request.input);
    this.body = body;
    this.isStreamed = request.stream === true;
    this.#model = request.model;
    this.#job = jobOf(request);
  }

  get jobs() {
    return [this.#job.job];
  }

  answer(done: readonly Done[]): ResponseDocument {
    const [one] = done;
    if (one === undefined) throw new Error('A response is made of one job.');
    return this.#document(one.id, one.createdMs, one);
  }

  *held(done: readonly Done[]): Iterable<string> {
    const [one] = done;
    if (one === undefined) throw new Error('A response is made of one job.');
    const { surface } = this.#job;
    const frames = new ResponseFrames(one.id, this.#document(one.id, one.createdMs, undefined), -1, surface);
    yield frames.created();
    const text = textOfOutput(one.output);
    if (text !== '') yield frames.delta(text);
    yield frames.whole(outputOf(one.id, one, surface));
    yield frames.ended(this.answer(done));
  }

  async *provisional({ events, ids, confirm }: ProvisionalStream): AsyncGenerator<string> {
    const id = ids[0] ?? '';
    const mark = provisional(id, 'running');
    const { surface } = this.#job;
    const begun = this.#document(id, Date.now(), undefined);
    const frames = new ResponseFrames(id, { ...begun, countersign: mark }, -1, surface);
    let text = '';
    yield frames.created();
    for await (const one of events) {
      const parsed = Event.safeParse(one);
      // What else is streamed repeats the answer, and comes from the confirmed one.
      if (!parsed.success) continue;
      const event = parsed.data;
      switch (event.type) {
        case 'response.output_text.delta':
          text += event.delta;
          yield frames.delta(event.delta, mark);
          continue;
        case 'response.completed':
        case 'response.incomplete': {
          const done = await confirm(0);
          requireSame(event, this.answer([done]));
          if (text !== textOfOutput(done.output))
            throw new Unverified('wrong_answer', 'The text above is not the one that was confirmed; do not use it.');
          yield frames.whole(outputOf(id, done, surface));
          yield frames.ended(this.answer([done]));
          return;
        }
        case 'response.failed':
        case 'response.cancelled':
          throw new CodedError('job_failed', event.response.error?.message ?? 'The job did not end done.');
        case 'error':
          throw new CodedError(codeOf(event.code), event.message);
      }
    }
    throw new Unverified('broken_off', 'The stream ended before all of it was confirmed.');
  }

  failed(error: CodedError, ids: readonly string[]): string {
    const id = ids[0] ?? '';
    return new ResponseFrames(id, this.#document(id, Date.now(), undefined), -1, this.#job.surface).error(error);
  }

  #document(id: string, createdMs: number, done: Done | undefined): ResponseDocument {
    const state = done === undefined ? 'queued' : 'done';
    const view = { id, createdMs, model: this.#model, state, ending: undefined } as const;
    return responseDocument(view, this.#job.surface, done);
  }
}

/** Throws CodedError `request_invalid` for items named by their ids: what they say is unknown here. */
function requireWhole(input: z.infer<typeof ResponseRequest>['input']): void {
  if (typeof input === 'string') return;
  const at = input.findIndex((item) => !('role' in item) && (item.type == null || item.type === 'item_reference'));
  if (at >= 0)
    throw new CodedError('request_invalid', `input.${at}: a proxy does not know items by their ids; send it whole.`, {
      param: `input.${at}`,
    });
}

/** The event ends with the response that was confirmed, under the name of its status. */
function requireSame(event: { type: string; response: unknown }, own: ResponseDocument): void {
  const whole: unknown = JSON.parse(JSON.stringify({ type: `response.${own.status}`, response: own }));
  const difference = firstDifference({ type: event.type, response: event.response }, whole);
  if (difference !== undefined) throw new Unverified('wrong_answer', `In the last frame, ${difference}.`);
}

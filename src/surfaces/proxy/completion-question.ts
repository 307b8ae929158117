import { requireNoMemory } from '../memory/memory-wish.ts';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { textOfOutput } from '../../proof/tasks/task-input.ts';
import { CompletionChunk } from '../openai/answer-document.ts';
import { answerOf, countersigned, provisional, type Done } from '../openai/answers.ts';
import { ChunkWriter } from '../openai/chunk-writer.ts';
import { readRequest, type Asked, type Endpoint } from '../openai/requests.ts';
import { firstDifference } from './difference.ts';
import type { ProvisionalStream, Question } from './question.ts';
import { Unverified } from './unverified.ts';
import { codeOf } from './upstream.ts';

const ErrorFrame = z.object({ error: z.looseObject({ message: z.string(), code: z.string().nullish() }) });

/** A chat, a completion or an embedding. */
export class CompletionQuestion implements Question {
  readonly path: Endpoint;
  readonly body: Question['body'];
  readonly #asked: Asked;

  constructor(path: Endpoint, body: Question['body']) {
    this.path = path;
    this.body = body;
    this.#asked = readRequest(path, body);
    requireNoMemory(this.#asked.memory, 'through a proxy, which cannot make the input again');
  }

  get jobs() {
    return this.#asked.jobs;
  }

  get isStreamed() {
    return this.#asked.isStreamed;
  }

  answer(done: readonly Done[]): object {
    return answerOf(this.#asked, done);
  }

  *held(done: readonly Done[]): Iterable<string> {
    const chunks = new ChunkWriter(this.#asked, done[0]?.id ?? '');
    for (const [index, one] of done.entries()) {
      const opening = chunks.opening(index, countersigned(one, 'done'));
      if (opening !== undefined) yield opening;
      const text = textOfOutput(one.output);
      if (text !== '') yield chunks.piece(index, text);
      yield chunks.last(index, one);
    }
    yield chunks.end(done);
  }

  async *provisional({ events, ids, confirm }: ProvisionalStream): AsyncGenerator<string> {
    const chunks = new ChunkWriter(this.#asked, ids[0] ?? '');
    const texts = ids.map(() => '');
    const done = new Map<number, Done>();
    for (const [index, id] of ids.entries()) {
      const opening = chunks.opening(index, provisional(id, 'running'));
      if (opening !== undefined) yield opening;
    }
    for await (const event of events) {
      if (event === '[DONE]') {
        const all = ids.flatMap((_, index) => done.get(index) ?? []);
        if (all.length !== ids.length) break;
        yield chunks.end(all);
        return;
      }
      const choice = choiceOf(event);
      if (choice === undefined) continue;
      const { index, text, isLast } = choice;
      const id = ids[index];
      if (id === undefined || done.has(index))
        throw new Unverified(
          'wrong_answer',
          'The stream has a choice that was not asked for, or goes on after its end.',
        );
      const whole = (texts[index] ?? '') + text;
      texts[index] = whole;
      if (text !== '') yield chunks.piece(index, text, provisional(id, 'running'));
      if (!isLast) continue;
      const one = await confirm(index);
      requireText(whole, one);
      const last = chunks.last(index, one);
      requireSame(event, last);
      done.set(index, one);
      yield last;
    }
    throw new Unverified('broken_off', 'The stream ended before all of it was confirmed.');
  }

  failed(error: CodedError, ids: readonly string[]): string {
    return new ChunkWriter(this.#asked, ids[0] ?? '').error(error);
  }
}

/** The choice of a frame; undefined where it has none. Throws what an error frame says, and Unverified. */
function choiceOf(event: unknown): { index: number; text: string; isLast: boolean } | undefined {
  const failed = ErrorFrame.safeParse(event);
  if (failed.success) throw new CodedError(codeOf(failed.data.error.code), failed.data.error.message);
  const parsed = CompletionChunk.safeParse(event);
  if (!parsed.success || parsed.data.choices.length > 1)
    throw new Unverified('malformed', 'The stream has a frame of a form that is not known.');
  const [choice] = parsed.data.choices;
  if (choice === undefined) return undefined;
  const text = 'text' in choice ? choice.text : (choice.delta.content ?? '');
  return { index: choice.index, text, isLast: choice.finish_reason !== null };
}

/** The last frame of the service and ours say the same, but for the time at which the stream began. */
function requireSame(given: unknown, own: string): void {
  const timeless = (chunk: unknown) => ({ ...Chunk.parse(chunk), created: 0 });
  const difference = firstDifference(timeless(given), timeless(JSON.parse(own.replace(/^data: /, ''))));
  if (difference !== undefined) throw new Unverified('wrong_answer', `In the last frame, ${difference}.`);
}

const Chunk = z.looseObject({ created: z.number() });

function requireText(streamed: string, { output }: Done): void {
  if (streamed !== textOfOutput(output))
    throw new Unverified('wrong_answer', 'The text above is not the one that was confirmed; do not use it.');
}

import { z } from 'zod';
import { freshRandom } from '../../ground/keys/random.ts';
import type { ToolCall } from '../../proof/contract/task-types.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { EngineError } from './engine.ts';
import { JsonEnd } from './json-end.ts';

const MAX_CALLS = 128;

/** A piece of a call, as servers send it. Some leave out the index, the id, or send the arguments whole. */
export const ToolCallPiece = z.object({
  index: z.number().int().min(0).nullish(),
  id: z.string().nullish(),
  function: z
    .object({
      name: z.string().nullish(),
      arguments: z
        .union([z.string(), z.record(z.string(), z.unknown()).transform((all) => JSON.stringify(all))])
        .nullish(),
    })
    .nullish(),
});
type ToolCallPiece = z.infer<typeof ToolCallPiece>;

interface Growing {
  id: string | undefined;
  name: string;
  arguments: string;
  readonly end: JsonEnd;
}

/**
 * The tool calls of one answer, put together from pieces. Pieces that cannot be of one call are calls of
 * their own, or fail with EngineError `engine_error`: what a server did not say as one call is never joined
 * to one.
 */
export class ToolCalls {
  readonly #calls: Growing[] = [];
  readonly #byIndex = new Map<number, Growing>();

  get count(): number {
    return this.#calls.length;
  }

  /** Throws EngineError where the piece contradicts an earlier one, or there is too much of it. */
  add(piece: ToolCallPiece): void {
    const id = piece.id || undefined;
    const name = piece.function?.name || undefined;
    const text = piece.function?.arguments ?? '';
    const found = this.#find(piece.index ?? undefined, id, name);
    const call = found === undefined || beginsAnother(found, { id, name, text }) ? this.#begin(piece.index) : found;
    call.id ??= id;
    if (name !== undefined && call.name !== '' && call.name !== name)
      throw contradiction(`a call of ${call.name} goes on as one of ${name}`);
    call.name = name ?? call.name;
    // Some servers end by saying all of it once more.
    if (call.end.isReached && text === call.arguments) return;
    if (!call.end.push(text)) throw contradiction('the arguments of a call go on after their end');
    call.arguments += text;
    if (call.arguments.length > MAX_OUTPUT_BYTES)
      throw new EngineError('engine_refused', 'The answer is longer than an output may be.');
  }

  /** The calls, each with an id. Throws EngineError where two have the same. */
  all(): ToolCall[] {
    const calls = this.#calls.map(({ id, name, arguments: text }): ToolCall => ({
      id: id ?? `call_${freshRandom(12).toString('hex')}`,
      type: 'function',
      function: { name, arguments: text === '' ? '{}' : text },
    }));
    if (new Set(calls.map(({ id }) => id)).size < calls.length) throw contradiction('two calls have the same id');
    return calls;
  }

  /** The call that a piece may go on with. Without an index, a piece with a name begins a call. */
  #find(index: number | undefined, id: string | undefined, name: string | undefined): Growing | undefined {
    if (index !== undefined) return this.#byIndex.get(index);
    if (id !== undefined) return this.#calls.find((call) => call.id === id);
    return name === undefined ? this.#calls.at(-1) : undefined;
  }

  #begin(index: number | null | undefined): Growing {
    if (this.#calls.length >= MAX_CALLS) throw contradiction(`it has more than ${MAX_CALLS} calls`);
    const call: Growing = { id: undefined, name: '', arguments: '', end: new JsonEnd() };
    this.#calls.push(call);
    if (index != null) this.#byIndex.set(index, call);
    return call;
  }
}

/** Servers that give all calls one index tell them apart by their ids, or by a name after whole arguments. */
function beginsAnother(
  call: Growing,
  { id, name, text }: { id: string | undefined; name: string | undefined; text: string },
): boolean {
  if (id !== undefined && call.id !== undefined) return id !== call.id;
  return name !== undefined && call.name !== '' && call.end.isReached && text !== '';
}

const contradiction = (what: string) =>
  new EngineError('engine_error', `The answer of the inference server contradicts itself: ${what}.`);

import { messageOf } from '../errors/coded-error.ts';

/**
 * Parsers for the replies of Lua scripts, to be given to `loadScript`. A parser returns the typed reply, or
 * throws where the script answered with something that its header does not promise. They are written by hand,
 * because a reply can have one row for each job of a batch and is then parsed on the hot path.
 */
export type Parse<Reply> = (reply: unknown) => Reply;

/** The cells of a list, not parsed yet. */
export function cells(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new Error(`${described(reply)} instead of a list`);
  return reply;
}

/** A list, each item parsed by `parse`, in the order of the script. */
export function listOf<Item>(parse: Parse<Item>): Parse<Item[]> {
  return (reply) => cells(reply).map((item) => parse(item));
}

/** What `parse` returns, or undefined where the script answered `false`. */
export function optional<Value>(parse: Parse<Value>): Parse<Value | undefined> {
  return (reply) => (reply === null ? undefined : parse(reply));
}

export function integer(reply: unknown): number {
  if (!Number.isSafeInteger(reply)) throw new Error(`${described(reply)} instead of a whole number`);
  return Number(reply);
}

export function text(reply: unknown): string {
  if (typeof reply !== 'string') throw new Error(`${described(reply)} instead of text`);
  return reply;
}

/** One of a fixed set of words. */
export function oneOf<const Word extends string>(...words: readonly Word[]): Parse<Word> {
  return (reply) => {
    const found = words.find((word) => word === reply);
    if (found === undefined) throw new Error(`${described(reply)} instead of ${words.join(', ')}`);
    return found;
  };
}

/** The value for an error message, short and without its content where it is long. */
export function described(reply: unknown): string {
  return typeof reply === 'string' || typeof reply === 'number' ? `"${String(reply).slice(0, 40)}"` : typeof reply;
}

/** Whether Redis refused because a key is of another type: what workers may write, any of them can spoil. */
export const isOfAnotherType = (error: unknown): boolean => messageOf(error).includes('WRONGTYPE');

import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { MemoryEntry } from '../../proof/memory/entry.ts';
import { OwnerName } from './memory-calls.ts';
import { MemoryFilter } from './memory-filter.ts';
import { SEARCH_MODES } from './ranking.ts';

/** Most memories before one question: what is put there is paid for as input, and read by the model. */
const MAX_RECALLED = 50;

/** Whose memories a question is to be asked with, beside what OpenAI's clients send. */
export const MemoryWish = z
  .strictObject({
    owner: OwnerName.describe('whose memories'),
    limit: z.int().min(1).max(MAX_RECALLED).default(8).describe('the most memories that are put before a question'),
    mode: z.enum(SEARCH_MODES).default('hybrid').describe('how they are searched'),
    filter: MemoryFilter.prefault({}).describe('which are meant'),
    write: z
      .boolean()
      .default(false)
      .describe('whether the question and the confirmed answer are remembered, word for word'),
    category: MemoryEntry.shape.category.default(null).describe('of what is remembered'),
    agent: MemoryEntry.shape.agent.default(null),
    thread: MemoryEntry.shape.thread.default(null),
  })
  .optional();
export type MemoryWish = NonNullable<z.infer<typeof MemoryWish>>;

/**
 * The wish of a request, in its body or in the header `Countersign-Memory`, which names the owner,
 * percent-encoded. Throws CodedError `request_invalid` where the header is none or names another owner.
 */
export function memoryWish(inBody: MemoryWish | undefined, header: string | undefined): MemoryWish | undefined {
  if (header === undefined) return inBody;
  const wish = MemoryWish.safeParse({ owner: decoded(header) }).data;
  if (wish === undefined || (inBody !== undefined && inBody.owner !== wish.owner))
    throw new CodedError(
      'request_invalid',
      'The header Countersign-Memory must be the name of an owner, percent-encoded, and the one that the body names.',
    );
  return inBody ?? wish;
}

/** Throws CodedError `request_invalid` for a wish where no memories can be put before a question. */
export function requireNoMemory(wish: MemoryWish | undefined, where: string): void {
  if (wish !== undefined)
    throw new CodedError('request_invalid', `memory: not available ${where}.`, { param: 'memory' });
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

import { createHash } from 'node:crypto';
import { newUlid, siblingOf } from '../../ground/keys/ulid.ts';

/** A new id of a memory: `mem_` and a ULID. */
export function newMemoryId(nowMs: number): string {
  return `mem_${newUlid(nowMs)}`;
}

/**
 * The id of the memory at a place of a request whose first one has this id: the same whenever the request is
 * sent again.
 */
export function memoryIdAt(first: string, place: number): string {
  if (place === 0) return first;
  const bytes = createHash('sha256').update(`${first} ${place}`).digest();
  return `mem_${siblingOf(first.slice('mem_'.length), bytes)}`;
}

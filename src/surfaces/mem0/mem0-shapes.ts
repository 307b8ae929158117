import { z } from 'zod';
import type { FoundMemory, Memory, MemoryState } from '../../proof/contract/memory.ts';

/** A memory as Mem0's clients read it. Whose it is, is known where it was asked for by the user. */
export function item(memory: Memory, owner: string | null, score?: number): Record<string, unknown> {
  const { id, text, agent, thread, metadata, category, created_at, updated_at } = memory;
  return {
    id,
    memory: text,
    user_id: owner,
    agent_id: agent,
    run_id: thread,
    metadata,
    categories: category === null ? [] : [category],
    created_at,
    updated_at,
    ...(score === undefined ? {} : { score }),
    // Beyond Mem0: where it is from, and how far it is trusted.
    trust: memory.trust,
    origins: memory.origins,
  };
}

/** The changes of a memory, oldest first. */
export function changes(id: string, versions: readonly MemoryState[]): Record<string, unknown>[] {
  return versions.map(({ text, category, updated_at }, at) => ({
    id: `${id}:${at + 1}`,
    memory_id: id,
    input: [],
    old_memory: versions[at - 1]?.text ?? null,
    new_memory: text,
    user_id: null,
    categories: category === null ? [] : [category],
    event: at === 0 ? 'ADD' : 'UPDATE',
    created_at: versions[0]?.updated_at,
    updated_at,
  }));
}

// Answers of the API, which its own tests hold to their schemas.
export const MemoryAnswer = z.custom<Memory>();
export const ListAnswer = z.custom<{ memories: Memory[]; next: string | null }>();
export const FoundAnswer = z.custom<{ results: FoundMemory[] }>();
export const HistoryAnswer = z.custom<{ id: string; versions: MemoryState[] }>();
export const AddedAnswer = z.union([
  z.object({ job: z.string() }),
  z.object({ memories: z.array(z.object({ outcome: z.string(), memory: MemoryAnswer })) }),
]);
export const ErasureAnswer = z.object({ sha256: z.string() });
export const ErasedAnswer = z.object({ erasures: z.array(ErasureAnswer) });
export const OwnersAnswer = z.object({ owners: z.array(z.string()) });
export const EventAnswer = z.object({
  job: z.string(),
  state: z.string(),
  outcome: z.enum(['open', 'kept', 'refused', 'none']),
  reason: z.string().nullable(),
  memories: z.array(z.string()),
});

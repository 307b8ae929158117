import { expect, test } from '@jest/globals';
import type { z } from 'zod';
import type { FoundMemory, Memory, MemoryErasure, MemoryState } from '../../proof/contract/memory.ts';
import type { ErasureDocument, FoundMemories, MemoryDocument, MemoryHistory } from './memories.schemas.ts';

/** True where a value of each type is one of the other. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

test('the plain types of memories that the client publishes are those of the schemas of the service', () => {
  // What tests here is the compiler: a member that differs makes one of these `false`, which is not `true`.
  const same = {
    memory: true satisfies Same<Memory, z.output<typeof MemoryDocument>>,
    state: true satisfies Same<MemoryState, z.output<typeof MemoryHistory>['versions'][number]>,
    found: true satisfies Same<FoundMemory, z.output<typeof FoundMemories>['results'][number]>,
    erasure: true satisfies Same<MemoryErasure, z.output<typeof ErasureDocument>>,
  };
  expect(Object.values(same)).not.toContain(false);
});

import { expect, test } from '@jest/globals';
import type { z } from 'zod';
import type { FoundMemory, Memory, MemoryErasure, MemoryProfile, MemoryState } from '../../proof/contract/memory.ts';
import {
  AddMemories,
  ChangeMemory,
  type ErasureDocument,
  type FoundMemories,
  type MemoryDocument,
  type MemoryHistory,
  type ProfileDocument,
} from './memories.schemas.ts';

/** True where a value of each type is one of the other. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

test('the plain types of memories that the client publishes are those of the schemas of the service', () => {
  // What tests here is the compiler: a member that differs makes one of these `false`, which is not `true`.
  const same = {
    memory: true satisfies Same<Memory, z.output<typeof MemoryDocument>>,
    state: true satisfies Same<MemoryState, z.output<typeof MemoryHistory>['versions'][number]>,
    found: true satisfies Same<FoundMemory, z.output<typeof FoundMemories>['results'][number]>,
    profile: true satisfies Same<MemoryProfile, z.output<typeof ProfileDocument>>,
    erasure: true satisfies Same<MemoryErasure, z.output<typeof ErasureDocument>>,
  };
  expect(Object.values(same)).not.toContain(false);
});

test('nothing with half a character is remembered or corrected: it could never be carried away', () => {
  const half = 'a \ud83d';
  const add = { owner: 'ann', text: 'tea', infer: false };
  const changes = ['text', 'category', 'from'].map((name) => ({ [name]: half }));
  const more = [...changes, { metadata: { [half]: 1 } }, { metadata: { a: [half] } }];
  const said = { text: undefined, messages: [{ role: 'user', content: half }] };
  const added = [...more, said, ...['agent', 'thread', 'reference'].map((name) => ({ [name]: half }))];
  expect([AddMemories.safeParse(add).success, ChangeMemory.safeParse({ text: 'tea' }).success]).toEqual([true, true]);
  for (const change of added)
    expect([change, AddMemories.safeParse({ ...add, ...change }).success]).toEqual([change, false]);
  for (const change of more) expect([change, ChangeMemory.safeParse(change).success]).toEqual([change, false]);
});

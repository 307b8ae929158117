import { expect, test } from '@jest/globals';
import { ENTRY_LIMITS, type FormerState } from '../../proof/memory/entry.ts';
import { corrected, entryOf, withOrigin, type OriginDraft } from './memory-drafts.ts';
import { OpenedOwner } from './opened-owner.ts';

const ORIGIN: OriginDraft = { kind: 'user', from: null, reference: null, rests_on: [], receipt: null };

/** A memory that was corrected so many times, each time with a long text. */
function anEntry(id: string, corrections: number) {
  const text = 'é'.repeat(ENTRY_LIMITS.textChars);
  const draft = { type: 'semantic', text, category: null, agent: null, thread: null, source: null } as const;
  const rest = { valid_from: null, valid_to: null, metadata: {}, supersedes: [], contradicts: [] };
  const entry = entryOf({ id, ...draft, ...rest, origin: ORIGIN }, [], 0);
  const { updated_at, type, category, valid_from, valid_to, metadata, origins, trust } = entry;
  const state = { updated_at, type, text, category, valid_from, valid_to, metadata, origins, trust };
  const history = Array.from({ length: corrections }, (_, at): FormerState => ({ ...state, version: at + 1 }));
  return { ...entry, version: corrections + 1, history };
}

test('a memory gets no history that no bundle could carry', () => {
  const short = anEntry('mem_1', 10);
  expect(corrected(short, { text: 'new' }, ORIGIN, 1).version).toBe(12);
  expect(withOrigin(short, { ...ORIGIN, from: 'app' }, [], 1).version).toBe(12);
  const long = anEntry('mem_1', 127);
  expect(() => corrected(long, { text: 'new' }, ORIGIN, 1)).toThrow(/as long as a bundle can carry/);
  expect(withOrigin(long, { ...ORIGIN, from: 'app' }, [], 1)).toBe(long);
});

test('an owner has so many characters in all its texts, and can still shorten them', () => {
  const owner = new OpenedOwner({ id: 'own_1', tenant: 'acme', keyVersion: 1 }, Buffer.alloc(32));
  const held = (id: string, corrections: number) => ({ entry: anEntry(id, corrections), vector: undefined });
  for (const id of ['mem_1', 'mem_2']) {
    owner.requireRoomFor([held(id, 999)]);
    owner.put(held(id, 999));
  }
  expect(() => owner.requireRoomFor([held('mem_3', 200)])).toThrow(/characters in all their texts/);
  owner.requireRoomFor([held('mem_2', 0), held('mem_3', 200)]);
});

import { describe, expect, test } from '@jest/globals';
import { randomInt } from 'node:crypto';
import { ORIGIN_KINDS, type MemoryEntry, type OriginKind } from '../../proof/memory/entry.ts';
import { entryOf } from './memory-drafts.ts';
import { profileOf } from './profile.ts';

const AT = '2026-01-02T00:00:00.000Z';
const ALL = { lines: 200, ofEach: 50 };
let made = 0;

/** A memory that was made later than those before it. */
function aMemory(text: string, kind: OriginKind, more: Partial<MemoryEntry> = {}): MemoryEntry {
  made += 1;
  const origin = { kind, from: null, reference: null, rests_on: [], receipt: null };
  const about = { type: 'semantic', category: null, agent: null, thread: null, source: 'key' } as const;
  const links = { valid_from: null, valid_to: null, metadata: {}, supersedes: [], contradicts: [] };
  return { ...entryOf({ id: `mem_${1_000 + made}`, text, ...about, ...links, origin }, [], made * 1_000), ...more };
}
const mixed = <T>(all: readonly T[]) =>
  all
    .map((one) => ({ one, at: randomInt(1_000_000) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ one }) => one);
const lines = (entries: readonly MemoryEntry[], bounds = ALL) =>
  profileOf(entries, AT, bounds).sections.flatMap((section) => section.lines);

describe('profileOf', () => {
  test('facts stand before what happened, named categories before the rest, in each the most trusted and newest first', () => {
    const [tool, old, fresh] = [aMemory('a', 'tool'), aMemory('b', 'user'), aMemory('c', 'user')];
    const health = aMemory('d', 'import', { category: 'health' });
    const trip = aMemory('e', 'user', { type: 'episodic', category: 'travel' });
    const { sections } = profileOf(mixed([trip, tool, health, old, fresh]), AT, ALL);
    expect(sections.map((one) => [one.type, one.category, one.lines.map(({ text }) => text).join('')])).toEqual([
      ['semantic', 'health', 'd'],
      ['semantic', null, 'cba'],
      ['episodic', 'travel', 'e'],
    ]);
  });

  test('no line is trusted more than any memory that it names, and every memory is named or outranked', () => {
    const texts = ['I like tea.', 'i like TEA', 'I like coffee'];
    const entries = Array.from({ length: 60 }, (_, at) =>
      aMemory(texts[at % 3] ?? '', ORIGIN_KINDS[randomInt(ORIGIN_KINDS.length)] ?? 'import', { thread: String(at) }),
    );
    const byId = new Map(entries.map((entry) => [entry.id, entry]));
    const found = lines(mixed(entries));
    expect(found).toHaveLength(2);
    for (const { trust, memories } of found)
      expect(memories.map((id) => byId.get(id)?.trust)).toEqual(memories.map(() => trust));
    const named = found.flatMap(({ memories }) => memories);
    const best = (text: string) => found.find((line) => line.text.toLowerCase().includes(text))?.trust ?? 'import';
    for (const { id, text, trust } of entries)
      if (!named.includes(id))
        expect(ORIGIN_KINDS.indexOf(trust)).toBeLessThan(
          ORIGIN_KINDS.indexOf(best(text.includes('c') ? 'coffee' : 'tea')),
        );
  });

  test('the same memories give the same profile, and one that is gone is in none', () => {
    const entries = Array.from({ length: 40 }, (_, at) => aMemory(`fact ${at % 30}`, 'user', { thread: String(at) }));
    const [gone, ...rest] = entries;
    expect(profileOf(mixed(entries), AT, ALL)).toEqual(profileOf(entries, AT, ALL));
    expect(JSON.stringify(profileOf(rest, AT, ALL))).not.toContain(`"${gone?.id ?? ''}"`);
  });

  test('contradictions are said of both, also where the other one was made before', () => {
    const first = aMemory('born in 1980', 'user');
    const second = aMemory('born in 1981', 'tool', { contradicts: [first.id, 'mem_of_nobody'] });
    expect(lines([first, second]).map((line) => line.contradicted_by)).toEqual([[second.id], [first.id]]);
    expect(lines([second]).map((line) => line.contradicted_by)).toEqual([[]]);
  });

  test('it is bounded, as a whole and in each part, and says what it leaves out', () => {
    const entries = Array.from({ length: 30 }, (_, at) => aMemory(`${at}`, 'user', { category: `c${at % 2}` }));
    const { sections, left_out } = profileOf(entries, AT, { lines: 7, ofEach: 5 });
    expect(sections.map((one) => one.lines.length).toSorted()).toEqual([3, 4]);
    expect(left_out).toBe(23);
    expect(profileOf(entries, AT, { lines: 200, ofEach: 2 })).toMatchObject({ left_out: 26 });
  });
});

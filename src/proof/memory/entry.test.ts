import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { anEntry, anyEntry, aTombstone } from '../../../test/support/memories.ts';
import {
  entryLine,
  EntryRefused,
  lineDigest,
  MemoryEntry,
  ORIGIN_KINDS,
  readEntry,
  readTombstone,
  tombstoneLine,
  trustOfOrigin,
  trustOfOrigins,
} from './entry.ts';

const bytes = (text: string) => Buffer.from(text);
/** A line in canonical form that may be no entry. */
const lineOf = (change: object): Buffer => bytes(canonicalJson({ ...anEntry(), ...change }));

describe('an entry', () => {
  test('is the same after it was written and read, whatever it holds', () => {
    fc.assert(
      fc.property(anyEntry(), (entry) => {
        const line = entryLine(entry);
        const again = readEntry(bytes(line));
        expect(again).toEqual(entry);
        expect(entryLine(again)).toBe(line);
      }),
    );
  });

  test('with any byte changed is refused or is another entry with another digest', () => {
    fc.assert(
      fc.property(anyEntry(), fc.nat(), fc.integer({ min: 1, max: 255 }), (entry, place, change) => {
        const line = bytes(entryLine(entry));
        const other = Buffer.from(line);
        const at = place % line.length;
        other.writeUInt8((other[at] ?? 0) ^ change, at);
        expect(lineDigest(other)).not.toBe(lineDigest(line));
        let read;
        try {
          read = readEntry(other);
        } catch (error) {
          expect(error).toBeInstanceOf(EntryRefused);
          return;
        }
        expect(entryLine(read)).not.toBe(line.toString());
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ['white space', bytes(entryLine(anEntry()).replace(',', ', '))],
    ['a member twice', bytes(entryLine(anEntry()).replace('{', '{"id":"a",'))],
    ['an unknown member', lineOf({ zzz: 1 })],
    ['a blank text', lineOf({ text: ' \n' })],
    ['a text of half a character', bytes(entryLine(anEntry({ text: 'X' })).replace('"X"', '"\\ud800"'))],
    ['a needless escape', bytes(entryLine(anEntry({ text: 'X' })).replace('"X"', '"\\u0058"'))],
    [
      'an integer that no double holds',
      lineOf({}).toString().replace('"metadata":{}', '"metadata":{"n":9007199254740993}'),
    ],
    ['a path as its id', lineOf({ id: '../x' })],
    ['more trust than its origins', lineOf({ origins: [{ ...anEntry().origins[0], kind: 'tool', trust: 'tool' }] })],
    ['an origin above its kind', lineOf({ origins: [{ ...anEntry().origins[0], kind: 'tool' }] })],
    ['no origin', lineOf({ origins: [] })],
    ['a version that its history does not lead to', lineOf({ version: 2 })],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ])('is refused with %s', (_, line) => {
    expect(() => readEntry(Buffer.from(line))).toThrow(EntryRefused);
  });

  test('with half a character in any of its texts is none: it could never be carried away', () => {
    const half = 'a \ud83d';
    const entry = anEntry();
    const [origin] = entry.origins;
    const changes = [
      ...['text', 'category', 'agent', 'thread', 'source'].map((name) => ({ [name]: half })),
      ...[{ [half]: 1 }, { a: half }, { a: [{ b: half }] }].map((metadata) => ({ metadata })),
      ...['from', 'reference'].map((name) => ({ origins: [{ ...origin, [name]: half }] })),
    ];
    expect(MemoryEntry.safeParse(entry).success).toBe(true);
    for (const change of changes)
      expect([change, MemoryEntry.safeParse({ ...entry, ...change }).success]).toEqual([change, false]);
    const whole = { text: 'a \u{1f600} \\ud83d', metadata: { a: '\\ud83d' } };
    expect(MemoryEntry.safeParse({ ...entry, ...whole }).success).toBe(true);
  });

  test('names itself when it is refused', () => {
    expect(() => readEntry(lineOf({ text: '' }))).toThrow(expect.objectContaining({ id: anEntry().id }));
  });
});

test('a tombstone is the same after it was written and read, and says nothing of what was there', () => {
  const line = tombstoneLine(aTombstone());
  expect(readTombstone(bytes(line))).toEqual(aTombstone());
  expect(() => readTombstone(bytes(line.replace('}', ',"text":"secret"}')))).toThrow(EntryRefused);
});

describe('trust', () => {
  const kinds = fc.constantFrom(...ORIGIN_KINDS);
  const rank = (kind: (typeof ORIGIN_KINDS)[number]) => ORIGIN_KINDS.indexOf(kind);

  test('of what is derived is never above the least of what it rests on', () => {
    fc.assert(
      fc.property(kinds, fc.array(kinds), (kind, restsOn) => {
        expect(rank(trustOfOrigin(kind, restsOn))).toBe(Math.min(rank(kind), ...restsOn.map(rank)));
      }),
    );
  });

  test('of what came in several ways is that of the best of them', () => {
    fc.assert(
      fc.property(fc.array(kinds, { minLength: 1 }), (trusts) => {
        expect(rank(trustOfOrigins(trusts.map((trust) => ({ trust }))))).toBe(Math.max(...trusts.map(rank)));
      }),
    );
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  TILE_WIDTH,
  edgeTiles,
  formatBundle,
  hashesAt,
  parseBundle,
  parseTilePath,
  placeOf,
  tilePath,
  type TileName,
} from './tile.ts';

const aTile: fc.Arbitrary<TileName> = fc.record({
  level: fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 6 })),
  index: fc.integer({ min: 0, max: 999_999_999_999 }),
  width: fc.integer({ min: 1, max: TILE_WIDTH }),
});
const entriesOf = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });

describe('a tile', () => {
  test.each([
    [{ level: 0, index: 0, width: 256 }, 'tile/0/000'],
    [{ level: 'entries', index: 5, width: 17 }, 'tile/entries/005.p/17'],
    [{ level: 2, index: 1_234_067, width: 1 }, 'tile/2/x001/x234/067.p/1'],
  ] as const)('%j has the path of C2SP tlog-tiles', (tile, path) => {
    expect(tilePath(tile)).toBe(path);
  });

  test('is found again by its path', () => {
    fc.assert(fc.property(aTile, (tile) => expect(parseTilePath(tilePath(tile))).toEqual(tile)));
  });

  test.each([
    'tile/0/0',
    'tile/0/x000/001',
    'tile/00/000',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/../000',
    'tile/0/000/',
    '/tile/0/000',
    'tile/0/001/000',
  ])('has no second path such as %s', (path) => {
    expect(parseTilePath(path)).toBeUndefined();
  });

  test('holds each hash of its level once: every subtree has one place, and places follow each other', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 24 }), fc.integer({ min: 0, max: 1_000_000 }), (level, index) => {
        const { tileLevel, tile, row, at } = placeOf(level, index);
        expect(tileLevel * 8 + row).toBe(level);
        expect(tile * (TILE_WIDTH / 2 ** row) + at).toBe(index);
        expect(at).toBeLessThan(TILE_WIDTH / 2 ** row);
      }),
    );
  });

  test('at the edge is as wide as the rest of its level', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (size) => {
        const edge = edgeTiles(size);
        for (let level = 0; hashesAt(level, size) > 0; level += 1) {
          const partial = edge.find((tile) => tile.level === level);
          expect((partial?.index ?? hashesAt(level, size) / TILE_WIDTH) * TILE_WIDTH + (partial?.width ?? 0)).toBe(
            hashesAt(level, size),
          );
        }
      }),
    );
  });
});

describe('an entry bundle', () => {
  test('gives back the entries that went in', () => {
    fc.assert(
      fc.property(entriesOf, (entries) => {
        expect(parseBundle(formatBundle(entries))).toEqual(entries.map((entry) => Buffer.from(entry)));
      }),
    );
  });

  test('is refused, or has fewer entries, wherever it is cut', () => {
    fc.assert(
      fc.property(entriesOf, fc.nat(), (entries, cut) => {
        const bytes = formatBundle(entries);
        fc.pre(bytes.length > 0);
        const found = parseBundle(bytes.subarray(0, cut % bytes.length));
        expect(found === undefined || found.length < entries.length).toBe(true);
      }),
    );
  });
});

import { HASH_BYTES } from './merkle.ts';

/** Tiles (C2SP tlog-tiles): 256 hashes of subtrees, side by side, or 256 entries. */
export const TILE_WIDTH = 256;
const TILE_LEVELS = 8;

/**
 * A level of tiles: level 0 holds the hashes of leaves, level 1 the roots of full tiles of level 0, and so
 * on.
 */
export type TileLevel = number | 'entries';

export interface TileName {
  readonly level: TileLevel;
  readonly index: number;
  /** Hashes or entries in it, 1 to 256. */
  readonly width: number;
}

/**
 * `tile/<level>/<index>[.p/<width>]`: the index is in groups of three digits, each but the last after an x.
 */
export function tilePath({ level, index, width }: TileName): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, '0');
  const groups = digits.match(/.{3}/g) ?? [];
  const path = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
  return `tile/${level}/${path}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** The tile that a path names, or undefined where the path is not the canonical one of a tile. */
export function parseTilePath(path: string): TileName | undefined {
  const [, level, groups, width] =
    /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path) ?? [];
  if (level === undefined || groups === undefined) return undefined;
  const tile: TileName = {
    level: level === 'entries' ? level : Number(level),
    index: Number(groups.replace(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  if (tile.width < 1 || (width !== undefined && tile.width >= TILE_WIDTH)) return undefined;
  return tilePath(tile) === path ? tile : undefined;
}

/** How many hashes a level of tiles has in a tree of `size` leaves. */
export function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** The partial tiles at the right edge of a tree of `size` leaves, each as wide as that tree makes it. */
export function edgeTiles(size: number): TileName[] {
  const tiles: TileName[] = [];
  for (let level = 0; hashesAt(level, size) > 0; level += 1) {
    const width = hashesAt(level, size) % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(hashesAt(level, size) / TILE_WIDTH), width });
  }
  return tiles;
}

/**
 * Where the hash of a whole subtree of 2^level leaves is: the tile, the number of rows above the tile's own
 * hashes, and the place in that row.
 */
export function placeOf(level: number, index: number): { tileLevel: number; tile: number; row: number; at: number } {
  const row = level % TILE_LEVELS;
  const inRow = TILE_WIDTH / 2 ** row;
  return { tileLevel: Math.floor(level / TILE_LEVELS), tile: Math.floor(index / inRow), row, at: index % inRow };
}

/** The hashes of a tile. */
export function splitHashes(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length / HASH_BYTES }, (_, at) =>
    bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );
}

/** The entry bundle of these entries: each follows its length in two bytes, big-endian. */
export function formatBundle(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    }),
  );
}

/** The entries of a bundle, or undefined where the bundle ends within one. */
export function parseBundle(bytes: Buffer): Buffer[] | undefined {
  const entries: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + 2 > bytes.length) return undefined;
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) return undefined;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries;
}

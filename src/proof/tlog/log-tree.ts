import {
  EMPTY_ROOT,
  HASH_BYTES,
  consistencyProof,
  leafHash,
  nodeHash,
  rootOf,
  type RaggedHashes,
  type SubtreeHash,
} from './merkle.ts';
import type { LogFiles, TileToWrite } from './log-files.ts';
import { LogRefused } from './signed-note.ts';
import { TILE_WIDTH, edgeTiles, formatBundle, placeOf, splitHashes } from './tile.ts';

const KEPT_TILES = 64;

/**
 * The hashes of a tile and of every whole subtree in it. Row 0 is the tile itself; each row above has half as
 * many.
 */
class TileRows {
  readonly rows: Buffer[][] = [[]];

  static of(hashes: readonly Buffer[]): TileRows {
    const tile = new TileRows();
    for (const hash of hashes) tile.push(hash);
    return tile;
  }

  get hashes(): readonly Buffer[] {
    return this.rows[0] ?? [];
  }

  push(hash: Buffer, level = 0): void {
    const row = (this.rows[level] ??= []);
    const left = row.at(-1);
    row.push(hash);
    if (row.length % 2 === 0 && left !== undefined) this.push(nodeHash(left, hash), level + 1);
  }
}

/**
 * The tree of a log: its right edge in memory, everything else in tiles. One caller at a time. It writes only
 * tiles, and of the entries only full bundles: the sequencer keeps the entries of the unfinished tile, the
 * tail. A crash leaves tiles beyond the last checkpoint, which the next attestor writes again with the same
 * bytes.
 */
export class LogTree {
  readonly #files: LogFiles;
  /** The unfinished tile of each level. */
  readonly #edge: TileRows[] = [];
  #tail: Buffer[] = [];
  #size = 0;
  readonly #kept = new Map<string, TileRows>();
  #ragged: RaggedHashes = new Map();

  private constructor(files: LogFiles) {
    this.#files = files;
  }

  /**
   * The tree of the first `size` entries, from its tiles and `tail`, the entries after the last whole tile.
   * Throws LogRefused where they do not lead to this root.
   */
  static async load(files: LogFiles, size: number, root: Uint8Array, tail: readonly Buffer[]): Promise<LogTree> {
    const tree = new LogTree(files);
    tree.#size = size;
    tree.#tail = tail.slice(0, size % TILE_WIDTH);
    if (tree.#tail.length < size % TILE_WIDTH) throw new LogRefused('The last entries of the log are missing.');
    tree.#edge[0] = TileRows.of(tree.#tail.map(leafHash));
    for (const tile of edgeTiles(size).filter(({ level }) => level !== 0)) {
      const bytes = await files.readPrefix(tile);
      if (bytes?.length !== tile.width * HASH_BYTES)
        throw new LogRefused(`A tile of the log's edge is missing or torn: level ${tile.level}, tile ${tile.index}.`);
      tree.#edge[Number(tile.level)] = TileRows.of(splitHashes(bytes));
    }
    if (!tree.root().equals(root))
      throw new LogRefused('The tiles of the log do not lead to the root that was signed.');
    return tree;
  }

  get size(): number {
    return this.#size;
  }

  /** The root hash of all entries. */
  root(): Buffer {
    // Of all entries, every subtree stands on the edge.
    return rootOf((level, index) => this.#hash(level, index, new Map()), this.#size, this.#ragged);
  }

  /** The root hash of the first `size` entries. Throws LogRefused where their tiles are not there. */
  rootAt(size: number): Promise<Buffer> {
    return size === this.#size ? Promise.resolve(this.root()) : this.#of((hashes) => rootOf(hashes, size));
  }

  /** The root hash of the first `size` entries, once these have been added; nothing is written. */
  rootWith(entries: readonly Buffer[], size: number): Promise<Buffer> {
    if (size <= this.#size) return this.rootAt(size);
    const added = entries.slice(0, size - this.#size).map(leafHash);
    return this.#of((hashes) => {
      const hash: SubtreeHash = (level, index) => {
        const first = index * 2 ** level;
        if (first + 2 ** level <= this.#size) return hashes(level, index);
        const leaf = added[first - this.#size];
        if (leaf === undefined) throw new LogRefused(`The log has no entry ${first}.`);
        if (level === 0) return leaf;
        return nodeHash(hash(level - 1, 2 * index), hash(level - 1, 2 * index + 1));
      };
      return rootOf(hash, size);
    });
  }

  /** The entries of the unfinished tile. */
  get tail(): readonly Buffer[] {
    return this.#tail;
  }

  /** The partial tiles, which make a copy of the files complete. */
  partialTiles(): TileToWrite[] {
    const tiles: TileToWrite[] = edgeTiles(this.#size).map((tile) => ({
      tile,
      bytes: Buffer.concat(this.edge(Number(tile.level))),
    }));
    const [index, width] = [Math.floor(this.#size / TILE_WIDTH), this.#tail.length];
    if (width > 0) tiles.push({ tile: { level: 'entries', index, width }, bytes: formatBundle(this.#tail) });
    return tiles;
  }

  /**
   * Adds entries, and writes the tiles that became full and the partial ones above them, durable when this
   * resolves.
   */
  async append(entries: readonly Buffer[]): Promise<void> {
    const written: TileToWrite[] = [];
    this.#ragged = new Map();
    for (const entry of entries) {
      this.#tail.push(entry);
      this.#push(0, leafHash(entry), written);
      this.#size += 1;
      if (this.#tail.length === TILE_WIDTH) {
        const index = this.#size / TILE_WIDTH - 1;
        written.push({ tile: { level: 'entries', index, width: TILE_WIDTH }, bytes: formatBundle(this.#tail) });
        this.#tail = [];
      }
    }
    if (written.length === 0) return;
    await this.#files.writeTiles([...written, ...this.partialTiles().filter(({ tile }) => Number(tile.level) > 0)]);
  }

  /** The hashes of the unfinished tile of a level. */
  edge(level: number): readonly Buffer[] {
    return this.#edge[level]?.hashes ?? [];
  }

  /** The consistency proof from an older size to this one (RFC 9162). */
  consistency(from: number): Promise<Buffer[]> {
    return this.#of((hashes) => consistencyProof(hashes, from, this.#size));
  }

  /** Reads the tiles that a computation needs, and makes it: which those are no hash decides. */
  async #of<T>(compute: (hashes: SubtreeHash) => T): Promise<T> {
    const tiles = new Map<string, readonly [level: number, tile: number]>();
    compute((level, index) => {
      const { tileLevel, tile } = placeOf(level, index);
      if (!this.#isEdge(tileLevel, tile)) tiles.set(`${tileLevel}/${tile}`, [tileLevel, tile]);
      return EMPTY_ROOT;
    });
    const read = new Map<string, TileRows>();
    for (const [name, place] of tiles) read.set(name, await this.#fullTile(...place));
    return compute((level, index) => this.#hash(level, index, read));
  }

  #isEdge(level: number, tile: number): boolean {
    return tile === Math.floor(this.#size / TILE_WIDTH ** (level + 1));
  }

  #push(level: number, hash: Buffer, written: TileToWrite[]): void {
    const edge = (this.#edge[level] ??= new TileRows());
    edge.push(hash);
    const root = edge.rows.at(-1)?.[0];
    if (edge.hashes.length < TILE_WIDTH || root === undefined) return;
    const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1));
    this.#keep(level, index, edge);
    written.push({ tile: { level, index, width: TILE_WIDTH }, bytes: Buffer.concat(edge.hashes) });
    this.#edge[level] = new TileRows();
    this.#push(level + 1, root, written);
  }

  #hash(level: number, index: number, full: ReadonlyMap<string, TileRows>): Buffer {
    const { tileLevel, tile, row, at } = placeOf(level, index);
    const rows = this.#isEdge(tileLevel, tile) ? this.#edge[tileLevel] : full.get(`${tileLevel}/${tile}`);
    const hash = rows?.rows[row]?.[at];
    if (hash === undefined) throw new LogRefused(`The log has no subtree ${index} of 2^${level} entries.`);
    return hash;
  }

  async #fullTile(level: number, index: number): Promise<TileRows> {
    const kept = this.#kept.get(`${level}/${index}`);
    if (kept !== undefined) return kept;
    const bytes = await this.#files.readTile({ level, index, width: TILE_WIDTH });
    if (bytes?.length !== TILE_WIDTH * HASH_BYTES)
      throw new LogRefused(`A tile of the log is missing or torn: level ${level}, tile ${index}.`);
    return this.#keep(level, index, TileRows.of(splitHashes(bytes)));
  }

  #keep(level: number, index: number, tile: TileRows): TileRows {
    // The oldest is dropped first: a tile that is read again is nearly always a new one.
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= KEPT_TILES) this.#kept.delete(oldest);
    this.#kept.set(`${level}/${index}`, tile);
    return tile;
  }
}

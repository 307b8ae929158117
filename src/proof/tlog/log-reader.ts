import { openCheckpoint } from './checkpoint.ts';
import type { LogFiles } from './log-files.ts';
import { LogTree } from './log-tree.ts';
import { EMPTY_ROOT, HASH_BYTES, foldWhole, inclusionProof, leafHash } from './merkle.ts';
import { LogRefused, type NoteKey } from './signed-note.ts';
import { TILE_WIDTH, formatBundle, parseBundle, placeOf, splitHashes, type TileName } from './tile.ts';

const KEPT_TILES = 1_024;
const OPEN_ATTEMPTS = 4;

/** What is published of a log. */
export interface PublishedLog {
  /** The signed checkpoint, or "" before the first. */
  checkpoint(): Promise<string>;
  /** The checkpoint and the entries after its last whole tile, as of one moment. */
  head(): Promise<{ checkpoint: string; tail: readonly Buffer[] }>;
  /** The logged documents that are not verdicts. */
  documents(): Promise<LoggedDocument[]>;
  /** Secrets of the draws of past days, in hexadecimal, by day. */
  draws(): Promise<Record<string, string>>;
}

/**
 * Where a document is in the log. With the document, anyone can compute its entry and find it at the index.
 */
export interface LoggedDocument {
  readonly kind: string;
  readonly sha256: string;
  readonly keyid: string;
  readonly index: number;
  readonly salt: string;
}

/**
 * Reads a log to serve it. Every tile is checked up to the root of the signed checkpoint before it is
 * returned, so that a torn or changed file is found here and not by a client. Any number of callers at once.
 */
export class LogReader {
  readonly #files: LogFiles;
  readonly #keys: readonly NoteKey[];
  readonly #published: PublishedLog;
  readonly #kept = new Map<string, Buffer[]>();
  #opened: { note: string; tree: Promise<LogTree> } | undefined;

  /** `keys`: those of the log, more than one where its key was rotated. */
  constructor(files: LogFiles, keys: readonly NoteKey[], published: PublishedLog) {
    this.#files = files;
    this.#keys = keys;
    this.#published = published;
  }

  /** Secrets by which attempts of past days were drawn, in hexadecimal, by day. */
  draws(): Promise<Record<string, string>> {
    return this.#published.draws();
  }

  /** The signed checkpoint, or "" before the first. */
  checkpoint(): Promise<string> {
    return this.#published.checkpoint();
  }

  /** The lists of workers, keyrings and calibrations to which verdicts refer. */
  documents(): Promise<LoggedDocument[]> {
    return this.#published.documents();
  }

  /**
   * The bytes of a tile, or undefined where the log is not that long yet. A partial tile is cut from the
   * wider one that has replaced it. Throws LogRefused where the files do not match what was signed.
   */
  async tile({ level, index, width }: TileName): Promise<Buffer | undefined> {
    const tree = await this.#open();
    const hashes = await this.#hashes(tree, level === 'entries' ? 0 : level, index);
    if (hashes === undefined || hashes.length < width) return undefined;
    if (level !== 'entries') return Buffer.concat(hashes.slice(0, width));
    if (index === Math.floor(tree.size / TILE_WIDTH)) return formatBundle(tree.tail.slice(0, width));
    const stored = await this.#files.readTile({ level, index, width: TILE_WIDTH });
    const entries = stored && parseBundle(stored);
    if (entries?.length !== TILE_WIDTH || !entries.every((entry, at) => hashes[at]?.equals(leafHash(entry)) === true))
      throw new LogRefused(`Entries of the log are missing or torn: bundle ${index}.`);
    return width === TILE_WIDTH ? stored : formatBundle(entries.slice(0, width));
  }

  /**
   * The inclusion proof of entry `index` in the tree of the first `size` entries (RFC 9162). Throws
   * LogRefused.
   */
  async inclusion(index: number, size: number): Promise<Buffer[]> {
    const opened = await this.#opened?.tree.catch(() => undefined);
    const tree = opened !== undefined && opened.size >= size ? opened : await this.#open();
    if (size > tree.size) throw new LogRefused(`The log has ${tree.size} entries, and ${size} are asked for.`);
    // Which subtrees the proof is made of does not depend on their hashes.
    const found = new Map<string, Buffer>();
    const names: [number, number][] = [];
    inclusionProof((level, at) => (names.push([level, at]), EMPTY_ROOT), index, size);
    for (const [level, at] of names) {
      const { tileLevel, tile, row, at: inRow } = placeOf(level, at);
      const hashes = await this.#hashes(tree, tileLevel, tile);
      const count = 2 ** row;
      found.set(`${level}/${at}`, foldWhole((hashes ?? []).slice(inRow * count, (inRow + 1) * count)));
    }
    return inclusionProof((level, at) => found.get(`${level}/${at}`) ?? EMPTY_ROOT, index, size);
  }

  /**
   * The tree of the published checkpoint. It tries again, because a partial tile can be replaced while it is
   * read.
   */
  async #open(): Promise<LogTree> {
    for (let attempt = 1; ; attempt += 1) {
      const note = await this.#published.checkpoint();
      if (this.#opened?.note !== note) this.#opened = { note, tree: this.#load() };
      try {
        return await this.#opened.tree;
      } catch (error) {
        this.#opened = undefined;
        if (!(error instanceof LogRefused) || attempt === OPEN_ATTEMPTS) throw error;
      }
    }
  }

  async #load(): Promise<LogTree> {
    const { checkpoint: note, tail } = await this.#published.head();
    const { size, root } = note === '' ? { size: 0, root: EMPTY_ROOT } : openCheckpoint(note, ...this.#keys).checkpoint;
    return LogTree.load(this.#files, size, root, tail);
  }

  /** The hashes of a tile, checked up to the root; undefined beyond the end of the log. */
  async #hashes(tree: LogTree, level: number, index: number): Promise<readonly Buffer[] | undefined> {
    const edge = Math.floor(tree.size / TILE_WIDTH ** (level + 1));
    if (index > edge) return undefined;
    if (index === edge) return tree.edge(level);
    const name = `${level}/${index}`;
    const kept = this.#kept.get(name);
    if (kept !== undefined) return kept;
    const bytes = await this.#files.readTile({ level, index, width: TILE_WIDTH });
    const above = await this.#hashes(tree, level + 1, Math.floor(index / TILE_WIDTH));
    const hashes = bytes?.length === TILE_WIDTH * HASH_BYTES ? splitHashes(bytes) : undefined;
    if (hashes === undefined || above?.[index % TILE_WIDTH]?.equals(foldWhole(hashes)) !== true)
      throw new LogRefused(`A tile of the log is missing or torn: level ${level}, tile ${index}.`);
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= KEPT_TILES) this.#kept.delete(oldest);
    this.#kept.set(name, hashes);
    return hashes;
  }
}

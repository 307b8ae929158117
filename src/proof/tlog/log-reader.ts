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
  /** It, and the entries from its last whole tile on, as of one moment. */
  head(): Promise<{ checkpoint: string; tail: readonly Buffer[] }>;
  /** What stands in the log and is no verdict. */
  documents(): Promise<LoggedDocument[]>;
  /** Secrets of draws that are over, in hexadecimal, by day. */
  draws(): Promise<Record<string, string>>;
}

/** Whoever has the document computes its entry from this, and finds it at the index. */
export interface LoggedDocument {
  readonly kind: string;
  readonly sha256: string;
  readonly keyid: string;
  readonly index: number;
  readonly salt: string;
}

/**
 * Reads a log to serve it: every tile is checked up to the root of the signed checkpoint before it leaves, so that a
 * torn or flipped file is found here and not by whoever asked. Any number of callers at once.
 */
export class LogReader {
  readonly #files: LogFiles;
  readonly #log: NoteKey;
  readonly #published: PublishedLog;
  readonly #kept = new Map<string, Buffer[]>();
  #opened: { note: string; tree: Promise<LogTree> } | undefined;

  constructor(files: LogFiles, log: NoteKey, published: PublishedLog) {
    this.#files = files;
    this.#log = log;
    this.#published = published;
  }

  /** Secrets by which attempts were drawn on days that are over. */
  draws(): Promise<Record<string, string>> {
    return this.#published.draws();
  }

  /** The signed checkpoint, or "" before the first. */
  checkpoint(): Promise<string> {
    return this.#published.checkpoint();
  }

  /** Lists of workers, keyrings and calibrations that verdicts rest on. */
  documents(): Promise<LoggedDocument[]> {
    return this.#published.documents();
  }

  /**
   * A tile, or undefined where the log is not that long yet. A partial tile is the beginning of the wider one that has
   * taken its place. Throws LogRefused where the files are not what was signed.
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

  /** The proof that entry `index` stands in the tree of the first `size` entries. Throws LogRefused. */
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

  /** The tree of the checkpoint that is published. A partial tile can give way to a wider one while it is looked for. */
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
    const { size, root } = note === '' ? { size: 0, root: EMPTY_ROOT } : openCheckpoint(note, this.#log).checkpoint;
    return LogTree.load(this.#files, size, root, tail);
  }

  /** The hashes of a tile, checked; undefined beyond the end. */
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

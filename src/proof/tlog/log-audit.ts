import type { Checkpoint } from './checkpoint.ts';
import { CompactTree, foldWhole, leafHash } from './merkle.ts';
import { LogRefused } from './signed-note.ts';
import { TILE_WIDTH, hashesAt, parseBundle, tilePath, type TileLevel } from './tile.ts';
import { cosignersOf, openTrusted, type TlogPolicy } from './tlog-policy.ts';

/**
 * Returns a file of the log by its path, over HTTP or from a folder; undefined where there is no such file.
 */
export type LogSource = (path: string) => Promise<Buffer | undefined>;

export interface AuditReport {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  /** The checkpoint, to be kept and given to the next audit. */
  readonly checkpoint: string;
  readonly witnesses: readonly string[];
  readonly bundles: number;
  readonly tiles: number;
  /** Sizes of the earlier checkpoints of which this log is the continuation. */
  readonly continues: readonly number[];
}

/**
 * Walks a whole log: reads every entry and every tile, verifies every signature, and checks that the log
 * continues each of the `earlier` checkpoints (signed notes that the caller kept). Holds one bundle of
 * entries in memory at a time. Throws LogRefused with the first fault: a rewritten, truncated or forked log,
 * a torn tile, a signature that does not verify, too few witnesses. `hasRead` hears how far it is. Any number
 * of callers at once.
 */
export async function auditLog(
  source: LogSource,
  policy: TlogPolicy,
  earlier: readonly string[],
  hasRead: (entries: number, size: number) => void = () => undefined,
): Promise<AuditReport> {
  const text = (await source('checkpoint'))?.toString('utf8');
  if (text === undefined) throw new LogRefused('There is no checkpoint.');
  const { checkpoint, note } = openTrusted(policy, text);
  const witnesses = [...cosignersOf(policy, note).keys()];
  if (!policy.isQuorum(new Set(witnesses)))
    throw new LogRefused('Too few of the witnesses that the policy wants have signed the checkpoint.');
  const kept = earlier.map((old) => openTrusted(policy, old).checkpoint);
  for (const old of kept) requireContinuable(old, checkpoint);

  const walk = new LogWalk(source);
  requireSameRoots(kept, walk);
  const bundles = Math.ceil(checkpoint.size / TILE_WIDTH);
  for (let index = 0; index < bundles; index += 1) {
    const width = Math.min(TILE_WIDTH, checkpoint.size - index * TILE_WIDTH);
    for (const entry of await walk.entries(index, width)) {
      await walk.push(leafHash(entry));
      requireSameRoots(kept, walk);
    }
    hasRead(walk.size, checkpoint.size);
  }
  await walk.finish();
  if (!walk.root().equals(checkpoint.root))
    throw new LogRefused('The entries do not lead to the root that the checkpoint signs.');
  return {
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: checkpoint.root.toString('hex'),
    checkpoint: text,
    witnesses,
    bundles,
    tiles: walk.tiles,
    continues: kept.map(({ size }) => size),
  };
}

/** Throws LogRefused where the older checkpoint cannot be of the beginning of this log. */
function requireContinuable(old: Checkpoint, checkpoint: Checkpoint): void {
  if (old.origin !== checkpoint.origin) throw new LogRefused(`An earlier checkpoint is of the log ${old.origin}.`);
  if (old.size > checkpoint.size)
    throw new LogRefused(`The log was truncated: it had ${old.size} entries and has ${checkpoint.size}.`);
}

/**
 * Throws LogRefused where a kept checkpoint of the present size signs another root than the entries lead to.
 */
function requireSameRoots(kept: readonly Checkpoint[], walk: LogWalk): void {
  for (const old of kept.filter(({ size }) => size === walk.size))
    if (!old.root.equals(walk.root()))
      throw new LogRefused(
        `The log was rewritten or forked: its first ${old.size} entries are not those that were signed.`,
      );
}

/**
 * Computes the tree from the entries, and compares each tile of hashes with the published one as soon as it
 * is full.
 */
class LogWalk {
  readonly #source: LogSource;
  readonly #tree = new CompactTree();
  /** Hashes of the tile of each level that is not full yet. */
  readonly #rows: Buffer[][] = [];
  /** Tiles that were compared. */
  tiles = 0;

  constructor(source: LogSource) {
    this.#source = source;
  }

  get size(): number {
    return this.#tree.size;
  }

  root(): Buffer {
    return this.#tree.root();
  }

  /** The entries of a bundle. Throws LogRefused where they are not exactly `width`. */
  async entries(index: number, width: number): Promise<Buffer[]> {
    const entries = parseBundle(await this.#read('entries', index, width));
    if (entries?.length !== width) throw new LogRefused(`The entry bundle ${index} is torn.`);
    return entries;
  }

  async push(leaf: Buffer): Promise<void> {
    this.#tree.push(leaf);
    await this.#pushAt(0, leaf);
  }

  /** Compares the tiles that stayed partial. */
  async finish(): Promise<void> {
    for (const [level, row] of this.#rows.entries())
      if (row.length > 0) await this.#compare(level, hashesAt(level + 1, this.#tree.size), row);
  }

  async #pushAt(level: number, hash: Buffer): Promise<void> {
    const row = (this.#rows[level] ??= []);
    row.push(hash);
    if (row.length < TILE_WIDTH) return;
    this.#rows[level] = [];
    await this.#compare(level, hashesAt(level + 1, this.#tree.size) - 1, row);
    await this.#pushAt(level + 1, foldWhole(row));
  }

  async #compare(level: number, index: number, hashes: readonly Buffer[]): Promise<void> {
    const bytes = await this.#read(level, index, hashes.length);
    if (!bytes.equals(Buffer.concat(hashes)))
      throw new LogRefused(`The tile ${tilePath({ level, index, width: hashes.length })} is not that of its entries.`);
    this.tiles += 1;
  }

  async #read(level: TileLevel, index: number, width: number): Promise<Buffer> {
    const path = tilePath({ level, index, width });
    const bytes = await this.#source(path);
    if (bytes === undefined) throw new LogRefused(`${path} is missing.`);
    return bytes;
  }
}

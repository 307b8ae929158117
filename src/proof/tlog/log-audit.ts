import { HASH_BYTES, CompactTree, foldWhole, leafHash } from './merkle.ts';
import { LogRefused } from './signed-note.ts';
import { TILE_WIDTH, hashesAt, parseBundle, tilePath, type TileLevel } from './tile.ts';
import { cosignersOf, openTrusted, type TlogPolicy } from './tlog-policy.ts';

/** Reads a file of the log by its path, over HTTP or from a folder; undefined where it is not there. */
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
 * Walks a whole log: every entry, every tile, every signature, and that it goes on from each of the earlier checkpoints
 * that somebody kept. Memory stays flat. Throws LogRefused with the first thing that is wrong: a rewritten, truncated or
 * forked log, a torn tile, a signature that does not verify, too few witnesses.
 */
export async function auditLog(
  source: LogSource,
  policy: TlogPolicy,
  earlier: readonly string[],
): Promise<AuditReport> {
  const text = (await source('checkpoint'))?.toString('utf8');
  if (text === undefined) throw new LogRefused('There is no checkpoint.');
  const { checkpoint, note } = openTrusted(policy, text);
  const witnesses = [...cosignersOf(policy, note).keys()];
  if (!policy.isQuorum(new Set(witnesses)))
    throw new LogRefused('Too few of the witnesses that the policy wants have signed the checkpoint.');
  const kept = earlier.map((old) => openTrusted(policy, old).checkpoint);
  for (const old of kept) {
    if (old.origin !== checkpoint.origin) throw new LogRefused(`An earlier checkpoint is of the log ${old.origin}.`);
    if (old.size > checkpoint.size)
      throw new LogRefused(`The log was truncated: it had ${old.size} entries and has ${checkpoint.size}.`);
  }

  const read = async (level: TileLevel, index: number, width: number): Promise<Buffer> => {
    const path = tilePath({ level, index, width });
    const bytes = await source(path);
    if (bytes === undefined) throw new LogRefused(`${path} is missing.`);
    return bytes;
  };
  let tiles = 0;
  const tree = new CompactTree();
  /** Hashes of the unfinished tile of each level above the entries. */
  const rows: Buffer[][] = [];
  const compareTile = async (level: number, index: number, hashes: readonly Buffer[]) => {
    const bytes = await read(level, index, hashes.length);
    if (bytes.length !== hashes.length * HASH_BYTES || !bytes.equals(Buffer.concat(hashes)))
      throw new LogRefused(`The tile ${tilePath({ level, index, width: hashes.length })} is not that of its entries.`);
    tiles += 1;
  };
  const push = async (level: number, hash: Buffer): Promise<void> => {
    const row = (rows[level] ??= []);
    row.push(hash);
    if (row.length < TILE_WIDTH) return;
    rows[level] = [];
    const done = hashesAt(level + 1, tree.size);
    await compareTile(level, done - 1, row);
    await push(level + 1, foldWhole(row));
  };
  const compareRoots = () => {
    for (const old of kept.filter(({ size }) => size === tree.size))
      if (!old.root.equals(tree.root()))
        throw new LogRefused(
          `The log was rewritten or forked: its first ${old.size} entries are not those that were signed.`,
        );
  };

  compareRoots();
  const bundles = Math.ceil(checkpoint.size / TILE_WIDTH);
  for (let index = 0; index < bundles; index += 1) {
    const width = Math.min(TILE_WIDTH, checkpoint.size - index * TILE_WIDTH);
    const entries = parseBundle(await read('entries', index, width));
    if (entries?.length !== width) throw new LogRefused(`The entry bundle ${index} is torn.`);
    for (const entry of entries) {
      const hash = leafHash(entry);
      tree.push(hash);
      await push(0, hash);
      compareRoots();
    }
  }
  for (const [level, row] of rows.entries())
    if (row.length > 0) await compareTile(level, hashesAt(level + 1, checkpoint.size), row);
  if (!tree.root().equals(checkpoint.root))
    throw new LogRefused('The entries do not lead to the root that the checkpoint signs.');
  return {
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: checkpoint.root.toString('hex'),
    checkpoint: text,
    witnesses,
    bundles,
    tiles,
    continues: kept.map(({ size }) => size),
  };
}

import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { openCheckpoint } from '../../proof/tlog/checkpoint.ts';
import type { LogFiles } from '../../proof/tlog/log-files.ts';
import { LogTree } from '../../proof/tlog/log-tree.ts';
import { EMPTY_ROOT } from '../../proof/tlog/merkle.ts';
import type { NoteKey } from '../../proof/tlog/signed-note.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import type { Archived, JobArchive } from '../jobs/job-archive.ts';
import { recordHead } from '../jobs/job-record.ts';
import { readHead, type LogHead } from './log-head.ts';

const RESTORE = loadScript(new URL('./lua/restore.lua', import.meta.url), integer);
const RECOVER = loadScript(new URL('./lua/recover.lua', import.meta.url), integer);

const PAGE = 200;
/** Redis may go on while this reads: then it looks again. */
const ATTEMPTS = 10;

export interface RecoveryParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly files: LogFiles;
  readonly archive: JobArchive;
  /** The keys that may have signed the log's checkpoints. */
  readonly trusted: readonly NoteKey[];
  /** How long Redis keeps a job after its end (ms). */
  readonly keepMs: number;
  /** Hears how many entries of how many were read from the archive. */
  readonly hasRestored?: (entries: number, of: number) => void;
}

/** What was given back. */
export interface Recovered {
  /** Published entries that Redis had, and entries that it has now. */
  readonly from: number;
  readonly to: number;
  /** Jobs that are done by a record of the disk. */
  readonly restored: number;
  /** Jobs whose places were void: they wait for a verdict again. */
  readonly again: number;
}

/** A checkpoint of the disk, verified. */
interface Signed {
  readonly note: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * Gives Redis back what the disk has of the log: the tree of the disk is the true one, since its checkpoints
 * were signed. Every job whose place lies below the disk's size is done with the record of the archive,
 * whatever Redis remembers of it. Returns undefined where nothing is lost. It may run while attestors run,
 * and twice at once. Throws CodedError `log_diverged` where the disk does not hold what was signed, or Redis
 * has published another tree: then a person must decide.
 */
export async function recoverLog(parts: RecoveryParts): Promise<Recovered | undefined> {
  const { redis, keys, files, archive, trusted } = parts;
  for (let attempt = 1; ; attempt += 1) {
    const notes = await Promise.all([files.readCheckpoint(), archive.newestCheckpoint()]);
    const [copied, pending] = notes.map((note) => (note === undefined ? undefined : verified(note, trusted)));
    const disk = (pending?.size ?? 0) > (copied?.size ?? 0) ? pending : copied;
    const head = await readHead(redis, keys, 0, disk?.size);
    if (disk === undefined || (await holds(parts, head, disk))) return undefined;
    const tail = await tailOf(parts, disk);
    const tree = await loaded(files, disk, tail);
    // What is published from now on: what Redis had, or the copy on the disk where that is longer.
    const published = copied !== undefined && copied.size > head.size ? copied : publishedBy(head, trusted);
    if (!(await tree.rootAt(published.size)).equals(published.root))
      throw diverged(`Redis has published ${head.size} entries that are not those of the disk`);
    const base = published.size - (published.size % TILE_WIDTH);
    const entries = await entriesFrom(archive, base, disk.size);
    const restored = await restore(parts, head, disk.size);
    if (restored !== undefined) {
      const again = await RECOVER.run(
        redis,
        [keys.log, keys.logTail, keys.unsealed, keys.recovered, keys.open],
        [keys.prefix, head.size, head.total, published.size, published.note, ...entries],
      );
      if (again >= 0) return { from: head.size, to: disk.size, restored, again };
    }
    if (attempt === ATTEMPTS) throw diverged('Redis goes on changing');
  }
}

/** Whether Redis leads to this checkpoint. */
async function holds({ files, trusted }: RecoveryParts, head: LogHead, disk: Signed): Promise<boolean> {
  if (head.total < disk.size) return false;
  const { size, root } = publishedBy(head, trusted);
  const tree = await LogTree.load(files, size, root, head.tail).catch(() => undefined);
  if (tree === undefined) return false;
  const more = head.tail.slice(size % TILE_WIDTH).slice(0, Math.max(0, disk.size - size));
  return (await tree.rootWith(more, disk.size)).equals(disk.root);
}

function publishedBy({ size, checkpoint }: LogHead, trusted: readonly NoteKey[]): Signed {
  return checkpoint === '' ? { note: '', size, root: EMPTY_ROOT } : verified(checkpoint, trusted);
}

function verified(note: string, trusted: readonly NoteKey[]): Signed {
  const { size, root } = openCheckpoint(note, ...trusted).checkpoint;
  return { note, size, root };
}

function tailOf({ archive }: RecoveryParts, disk: Signed): Promise<Buffer[]> {
  return entriesFrom(archive, disk.size - (disk.size % TILE_WIDTH), disk.size);
}

async function entriesFrom(archive: JobArchive, from: number, to: number): Promise<Buffer[]> {
  const entries: Buffer[] = [];
  for await (const { index, entry } of archive.read(from, to)) {
    if (index !== from + entries.length) break;
    entries.push(entry);
  }
  if (entries.length < to - from) throw diverged(`the archive lacks entry ${from + entries.length}`);
  return entries;
}

async function loaded(files: LogFiles, disk: Signed, tail: readonly Buffer[]): Promise<LogTree> {
  return LogTree.load(files, disk.size, disk.root, tail).catch((cause: unknown) => {
    throw diverged('its tiles are missing or torn', cause);
  });
}

/** Gives the records back; returns how many, or undefined where Redis has changed meanwhile. */
async function restore(parts: RecoveryParts, head: LogHead, to: number): Promise<number | undefined> {
  const { redis, keys, archive, keepMs, hasRestored } = parts;
  let [restored, read] = [0, 0];
  let page: Archived[] = [];
  const give = async (): Promise<boolean> => {
    const args = page.flatMap(({ index, job }) =>
      job === undefined ? [] : [job.id, index, recordHead(job.record).endedMs, job.record],
    );
    read += page.length;
    page = [];
    const given = await RESTORE.run(
      redis,
      [keys.log, keys.logTail, keys.unsealed, keys.recovered],
      [keys.prefix, head.size, head.total, keepMs, ...args],
    );
    restored += given;
    return given >= 0;
  };
  for await (const item of archive.read(head.size, to)) {
    page.push(item);
    if (page.length < PAGE) continue;
    if (!(await give())) return undefined;
    hasRestored?.(read, to - head.size);
  }
  return (await give()) ? restored : undefined;
}

function diverged(found: string, cause?: unknown): CodedError {
  return new CodedError('log_diverged', `The log cannot be recovered from the disk: ${found}.`, {
    hint: 'restore the log folder and Redis from the same backup, or begin a new log under another origin',
    cause,
  });
}

import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import type { Archived } from '../jobs/job-archive.ts';

const READ = loadScript(new URL('./lua/read-head.lua', import.meta.url), parseHead);

/** What Redis holds of the log, as of one moment. */
export interface LogHead {
  /** How many entries are published. */
  readonly size: number;
  readonly checkpoint: string;
  /** How many entries have their places. */
  readonly total: number;
  /** The entries after the last whole tile of what is published, as many as were asked for. */
  readonly tail: readonly Buffer[];
  /** The jobs of the confirmations among them that are not published, by their index. */
  readonly jobs: ReadonlyMap<number, string>;
}

/** Reads the head with at most so many entries of its tail, but all of those below the size `upTo`. */
export function readHead(redis: Redis, keys: RedisKeys, most: number, upTo = 0): Promise<LogHead> {
  return READ.run(redis, [keys.log, keys.logTail, keys.unsealed], [most, upTo]);
}

function parseHead(reply: unknown): LogHead {
  const [size, checkpoint, total, tail, placed] = cells(reply);
  const jobs = new Map<number, string>();
  const fields = cells(placed).map(text);
  for (let at = 0; at + 1 < fields.length; at += 2) jobs.set(Number(fields[at + 1]), fields[at] ?? '');
  return {
    size: integer(size),
    checkpoint: text(checkpoint),
    total: integer(total),
    tail: cells(tail).map((entry) => Buffer.from(text(entry))),
    jobs,
  };
}

/** What is not published yet, each entry with the record of its job. */
export async function readUnpublished(redis: Redis, keys: RedisKeys, head: LogHead): Promise<Archived[]> {
  const { size, tail, jobs } = head;
  const records = jobs.size === 0 ? [] : await redis.mgetBuffer([...jobs.values()].map((id) => keys.record(id)));
  const found = new Map([...jobs].map(([index, id], at) => [index, { id, record: records[at] ?? undefined }]));
  return tail.slice(size % TILE_WIDTH).map((entry, offset) => {
    const { id, record } = found.get(size + offset) ?? {};
    return { index: size + offset, entry, job: id === undefined || record === undefined ? undefined : { id, record } };
  });
}

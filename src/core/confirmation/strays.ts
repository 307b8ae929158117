import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { cells, integer, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { poolTag } from '../../ground/redis/keys.ts';
import { createdMsOf, isJobId } from '../jobs/job-id.ts';
import { QUEUE_PARTS, type KeeperParts } from './pool-keeper.ts';

const SCAN = loadScript(new URL('./lua/scan-pools.lua', import.meta.url), (reply) => {
  const [cursor, names, gone] = cells(reply);
  return { cursor: text(cursor), names: cells(names).map(text), gone: integer(gone) };
});

const LOOK_EVERY_MS = 1_000;
/** No honest key of a pool has a longer name, bytes. */
const LONGEST_NAME = 512;
/** Keys that one look passes over: a millisecond of Redis. */
const KEYS_PER_LOOK = 2_000;
/**
 * Keys whose names say that their job is younger are looked at in a later round: nearly all of them belong to
 * jobs that are open now, and are gone by then.
 */
const YOUNG_MS = 10_000;
/** Nothing that a worker says of itself lives for longer. */
const MAX_LIFE_MS = 7_200_000;
const OF_JOBS = ['claims', 'evidence', 'ruling', 'lease', 'chunks'];
const OF_WORKERS = ['worker', 'hardware'];

/**
 * Removes what workers leave behind in their pools for jobs that never were: it goes through the keys of the
 * shard, a few at a time and round after round, and looks for the job that each belongs to. Any number of
 * attestors may do this at once.
 */
export class Strays {
  readonly #parts: KeeperParts;
  readonly #tags: ReadonlySet<string>;
  readonly #looks: PeriodicTask;
  #cursor = '0';

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#tags = new Set(parts.pools.map(poolTag));
    const warn = rateLimited(5_000, (error) => parts.logger.warn(`strays: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { redis, keys, logger } = this.#parts;
    const match = `${keys.prefix.replaceAll(/[[\]*?\\]/g, '\\$&')}@*`;
    const step = await SCAN.run(redis, [keys.open], [this.#cursor, match, KEYS_PER_LOOK, LONGEST_NAME]);
    this.#cursor = step.cursor;
    const strays = await this.#straysAmong(step.names);
    if (strays.length > 0) await this.#remove(strays);
    if (strays.length + step.gone > 0) {
      logger.info({ keys: strays.length + step.gone }, 'keys of a pool that belong to no job were removed');
    }
    return LOOK_EVERY_MS;
  }

  /** Each by a command of its own: Redis asks of one rule of a user that it allows all keys of a command. */
  async #remove(strays: readonly string[]): Promise<void> {
    const removals = this.#parts.redis.pipeline();
    for (const key of strays) removals.unlink(key);
    for (const [error] of (await removals.exec()) ?? []) if (error) throw error;
  }

  async #straysAmong(found: readonly string[]): Promise<string[]> {
    const { redis, keys } = this.#parts;
    const strays: string[] = [];
    const asked = redis.pipeline();
    const isStray: { key: string; by: (reply: unknown) => boolean }[] = [];
    for (const key of found) {
      const [, tag = '', family = '', rest = ''] = /^@(.{4}):([^:]*):?(.*)$/s.exec(key.slice(keys.prefix.length)) ?? [];
      if (!this.#tags.has(tag)) continue;
      if (OF_WORKERS.includes(family) && rest !== '') {
        asked.pttl(key);
        isStray.push({ key, by: (reply) => reply === -1 || Number(reply) > MAX_LIFE_MS });
        continue;
      }
      const job = OF_JOBS.includes(family) ? rest : family === 'bull' ? this.#delivered(rest) : undefined;
      if (job === undefined) continue;
      if (!isJobId(job) || job.slice(4, 8) !== tag) strays.push(key);
      else if (!isYoung(job)) {
        // Who follows a job may read its pieces for a while after its end; nothing else outlives an open job.
        asked.exists(keys.ticket(job), ...(family === 'chunks' ? [keys.record(job)] : []));
        isStray.push({ key, by: (reply) => reply === 0 });
      }
    }
    const replies = isStray.length === 0 ? [] : ((await asked.exec()) ?? []);
    replies.forEach(([error, reply], at) => {
      const asking = isStray[at];
      if (error === null && asking?.by(reply) === true) strays.push(asking.key);
    });
    return strays;
  }

  /** The job of a key of BullMQ; undefined for a part of a queue, and "" where it is neither. */
  #delivered(rest: string): string | undefined {
    const [queue = '', part = ''] = rest.split(':');
    if (!this.#parts.queues().includes(queue)) return '';
    return part in QUEUE_PARTS ? undefined : part.replace(/-\d+$/, '');
  }
}

/** Whether a job was created a moment ago, as its id says. A worker can make up any time; not for long. */
function isYoung(job: string): boolean {
  const age = Date.now() - createdMsOf(job);
  return age >= 0 && age < YOUNG_MS;
}

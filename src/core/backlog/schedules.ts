import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { MAX_EPOCHS } from '../jobs/job.reader.ts';
import { BEGUN } from '../jobs/lua-parts.ts';
import { LANES, LATER, LEAVE, TURNS } from './lua-parts.ts';

const PLACE = loadScript(new URL('./lua/place.lua', import.meta.url), listOf(text), {
  included: [BEGUN, LANES, LATER, LEAVE],
});
const DUE = loadScript(new URL('./lua/due.lua', import.meta.url), parseDue);
const IDLE = loadScript(new URL('./lua/idle.lua', import.meta.url), listOf(integer), { included: [LANES, TURNS] });

/** Evidence that has waited for longer was not heard of; it is read from the documents instead. */
export const CONFIRMATION_LOOK_MS = 3_000;
/** A worker can say what it likes of its lease; it is looked at again after this. */
const LONGEST_LEASE_MS = 30_000;
/** What is held ready for longer is offered to workers that idle. */
export const READY_LOOK_MS = 500;
const MOST_PLACED = 500;

/** A job, and the epoch that it is thought to be in. */
export interface Whereabouts {
  readonly id: string;
  readonly epoch: number;
}

/** Jobs of one sorted set that are due. */
export interface DueJobs {
  readonly set: string;
  readonly ids: readonly string[];
}

/**
 * When open jobs are to be looked at: each stands in the set of what can happen to it next, by the time at
 * which it can. Only attestors write here. Times are those of Redis.
 */
export class Schedules {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Puts jobs where their documents say that they stand. Returns the queues in which there may be room now.
   */
  async place(jobs: readonly Whereabouts[]): Promise<string[]> {
    const queues = new Set<string>();
    for (let from = 0; from < jobs.length; from += MOST_PLACED) {
      const args = jobs.slice(from, from + MOST_PLACED).flatMap(({ id, epoch }) => [id, epoch]);
      const fixed = [this.#keys.prefix, MAX_EPOCHS, CONFIRMATION_LOOK_MS, LONGEST_LEASE_MS, READY_LOOK_MS];
      for (const queue of await PLACE.run(this.#redis, [this.#keys.open], [...fixed, ...args])) queues.add(queue);
    }
    return [...queues];
  }

  /** What is due in these sets, `most` jobs in all, and the time (ms) that it is. */
  async due(sets: readonly string[], most: number): Promise<{ nowMs: number; due: DueJobs[] }> {
    const { nowMs, ids } = await DUE.run(this.#redis, [this.#keys.open], [most, ...sets]);
    const due = sets.map((set, at) => ({ set, ids: ids[at] ?? [] }));
    return { nowMs, due: due.filter((one) => one.ids.length > 0) };
  }

  /** How many places of engines are free in each of these queues while nothing there waits for a worker. */
  async idle(queues: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (queues.length === 0) return new Map();
    const idle = await IDLE.run(this.#redis, [this.#keys.open], [this.#keys.prefix, ...queues]);
    return new Map(queues.map((queue, at) => [queue, idle[at] ?? 0]));
  }

  /** Looks at jobs of a set again at these times (ms); one that has left the set does not come back. */
  async postpone(set: string, times: readonly (readonly [atMs: number, id: string])[]): Promise<void> {
    if (times.length > 0) await this.#redis.zadd(set, 'XX', ...times.flat());
  }

  /** Takes jobs of which there is no document any more out of a set. */
  async forget(set: string, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#redis.zrem(set, ...ids);
  }
}

function parseDue(reply: unknown): { nowMs: number; ids: string[][] } {
  const [now, ...sets] = cells(reply);
  return { nowMs: integer(now), ids: sets.map(listOf(text)) };
}

import type { Redis } from 'ioredis';
import type { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { poolOfQueue, type RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { deliveryName } from './delivery-name.ts';
import { AT_WORK, BAND_TURNS, FAIR_PLACE, LANES, LATER, RETRY_BUDGET, TAKE, TURNS } from './lua-parts.ts';

const RELEASE = loadScript(new URL('./lua/release.lua', import.meta.url), listOf(listOf(parseDelivery)), {
  included: [LANES, BAND_TURNS, TURNS, AT_WORK, RETRY_BUDGET, TAKE],
});
const ARRIVE = loadScript(new URL('./lua/arrive.lua', import.meta.url), listOf(integer), {
  included: [LANES, TURNS, FAIR_PLACE, LATER],
});
const UNDELIVERED = loadScript(new URL('./lua/undelivered.lua', import.meta.url), listOf(text));

/** What a worker's end, a lost wake-up or a crash left unreleased waits for this at most. */
const TICK_MS = 250;
/** Released where nothing is known of workers: they find something to do when they come. */
const FLOOR = 16;
/**
 * The margin holds what is released in this time. It covers the way from a commit over the attestor to the
 * next delivery: where that takes longer, engines wait for it. What is released is beyond anybody's share: a
 * longer margin would swallow the whole queue that admission allows under overload, and the shares with it.
 */
const AHEAD_MS = 200;
const MOST_AT_ONCE = 500;
/** Where as many jobs came due at once, the next page is not waited for. */
const NEXT_PAGE_MS = 10;
/** A released job is looked for in BullMQ after this, unless it was claimed. */
export const DELIVERY_LOOK_MS = 2_000;
/** No honest list of deliveries is longer, and no honest delay. */
const LONGEST_LIST = 50_000;
const LONGEST_DELAY_MS = 60_000;

/** A job that was released, and the epoch after which it was queued. */
export interface Released {
  readonly id: string;
  readonly afterEpoch: number;
}

interface BacklogParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly queues: PoolQueues;
  readonly logger: Logger;
}

/**
 * What waits for a worker, or for a time before which it is not to begin. Jobs wait in sorted sets that no
 * worker can touch; BullMQ holds those that will be
 * taken next, so that looking after what was delivered never depends on how much waits. APIs, couriers and
 * attestors release: when it has admitted or requeued, when work has ended, and on a tick.
 */
export class Backlog {
  readonly #parts: BacklogParts;
  readonly #ticks: PeriodicTask;
  readonly #warn: (error: unknown) => void;

  constructor(parts: BacklogParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `backlog: ${messageOf(error).slice(0, 300)}`),
    );
    this.#ticks = new PeriodicTask(
      async () => {
        const isMore = await this.arrive(parts.queues.names);
        await this.release(parts.queues.names);
        return isMore ? NEXT_PAGE_MS : TICK_MS;
      },
      this.#warn,
      TICK_MS,
    );
  }

  start(): void {
    this.#ticks.start();
  }

  async stop(): Promise<void> {
    await this.#ticks.stop();
  }

  /**
   * Releases what there is room for and delivers it. Any number of callers at once; none releases a job
   * twice. It throws nothing: what fails is done by the next tick, here or elsewhere.
   */
  async release(queues: readonly string[]): Promise<void> {
    await this.take(queues).then((taken) => this.deliver(taken), this.#warn);
  }

  /**
   * Puts jobs whose time has come in the backlogs of these queues, at most a page of each. Returns whether
   * there may be more. Any number of callers at once; it throws nothing, and the next tick makes up for it.
   */
  async arrive(queues: readonly string[]): Promise<boolean> {
    const { redis, keys } = this.#parts;
    const args = [keys.prefix, MOST_AT_ONCE, ...queues];
    const arrived = await ARRIVE.run(redis, [keys.open], args).catch(this.#warn);
    return (arrived ?? []).some((jobs) => jobs >= MOST_AT_ONCE);
  }

  /**
   * Moves what there is room for from the backlogs of these queues to `released`, and returns by queue what
   * is to be delivered together. A crash before that costs seconds: what is released is compared with BullMQ.
   */
  async take(queues: readonly string[]): Promise<ReadonlyMap<string, readonly (readonly Released[])[]>> {
    const { redis, keys, queues: known } = this.#parts;
    const names = known.names.filter((name) => queues.includes(name));
    if (names.length === 0) return new Map();
    const of = names.flatMap((name) => [name, this.#bullBase(name)]);
    const args = [keys.prefix, FLOOR, AHEAD_MS, MOST_AT_ONCE, DELIVERY_LOOK_MS, ...of];
    const released = await RELEASE.run(redis, [keys.open], args);
    return new Map(names.map((name, at) => [name, released[at] ?? []]));
  }

  /** Adds the deliveries of released jobs. A queue that was spoilt gets them once it is repaired. */
  async deliver(released: ReadonlyMap<string, readonly (readonly Released[])[]>): Promise<void> {
    await Promise.all(
      [...released].map(async ([queue, deliveries]) => {
        const named = deliveries.flatMap((jobs) => {
          const [first, ...rest] = jobs.map(nameOf);
          return first === undefined ? [] : [[first, ...rest] as const];
        });
        if (named.length > 0) await this.#parts.queues.add(queue, named).catch(this.#warn);
      }),
    );
  }

  /**
   * Adds the deliveries that BullMQ does not have: never added, after a crash, or deleted by a worker of the
   * pool. A second delivery of a job does no harm, since only one claim succeeds. Returns how many.
   */
  async redeliver(queue: string, jobs: readonly Released[]): Promise<number> {
    const { redis, keys, queues } = this.#parts;
    const base = this.#bullBase(queue);
    const names = new Map(jobs.map((job) => [job.id, nameOf(job)]));
    const args = [keys.prefix, queue, base, LONGEST_LIST, LONGEST_DELAY_MS, ...[...names].flat()];
    const missing = (await UNDELIVERED.run(redis, [keys.open], args)).flatMap((id) => names.get(id) ?? []);
    if (missing.length === 0) return 0;
    await redis.unlink(...missing.map((name) => base + name));
    await queues.add(
      queue,
      missing.map((name) => [name]),
    );
    return missing.length;
  }

  /** What stands before the parts of a queue in BullMQ. */
  #bullBase(queue: string): string {
    return `${this.#parts.keys.poolQueues(poolOfQueue(queue))}:${queue}:`;
  }
}

const nameOf = ({ id, afterEpoch }: Released): string => deliveryName(id, afterEpoch);

function parseDelivery(row: unknown): Released[] {
  const values = cells(row);
  const jobs: Released[] = [];
  for (let at = 0; at + 1 < values.length; at += 2)
    jobs.push({ id: text(values[at]), afterEpoch: integer(values[at + 1]) });
  return jobs;
}

import type { Redis } from 'ioredis';
import type { Logger } from '../../ground/logging/logger.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { CANCEL_LOOK_MS, CANCEL_STREAM_LENGTH } from '../jobs/jobs.ts';
import { ASK_CANCEL } from '../jobs/lua-parts.ts';
import { LANES } from './lua-parts.ts';
import { EMPTIED } from './pool-state.ts';
import type { Pools } from './pool.store.ts';

const EMPTY = loadScript(new URL('./lua/empty.lua', import.meta.url), parseStep, { included: [LANES, ASK_CANCEL] });

const LOOK_EVERY_MS = 500;
/** Attestors end some hundred jobs in this time. */
const FULL_MS = 50;
/** Jobs of a chunk, about: a few ms of Redis' time. */
const CHUNK = 200;
/** Wishes that attestors have before them; more would keep them from deadlines for long. */
const MOST_WISHES = 1_000;

/**
 * Empties pools, in chunks. How far it is stands in Redis and is written with each chunk: a crash leaves it
 * before or after, and any courier goes on. Any number of couriers at once.
 */
export class PoolEmptier {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #pools: Pools;
  readonly #names: readonly string[];
  readonly #task: PeriodicTask;

  constructor(parts: { redis: Redis; keys: RedisKeys; pools: Pools; names: readonly string[] }, logger: Logger) {
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#pools = parts.pools;
    this.#names = parts.names;
    this.#task = new PeriodicTask(
      () => this.#look(),
      (error) => logger.warn(`emptying a pool: ${messageOf(error).slice(0, 300)}; it is tried again`),
      LOOK_EVERY_MS,
    );
  }

  start(): void {
    this.#task.start();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  /** A chunk of each pool that is being emptied. */
  async #look(): Promise<number> {
    const steps = [];
    for (const name of this.#names) steps.push(await this.step(name));
    if (steps.includes('more')) return 0;
    return steps.includes('full') ? FULL_MS : LOOK_EVERY_MS;
  }

  /** Does the next chunk of a pool. Returns what is to be done then: `empty.lua` says what the words mean. */
  async step(name: string): Promise<'none' | 'more' | 'full' | 'again' | 'over'> {
    const { prefix, open } = this.#keys;
    const { word, askedMs } = await EMPTY.run(
      this.#redis,
      [open],
      [prefix, name, CHUNK, MOST_WISHES, CANCEL_STREAM_LENGTH, CANCEL_LOOK_MS, EMPTIED, ...this.#pools.queuesOf(name)],
    );
    if (word === 'over') await this.#pools.emptied(name, askedMs);
    return word;
  }
}

function parseStep(reply: unknown) {
  const [word, askedMs] = cells(reply);
  return { word: oneOf('none', 'more', 'full', 'again', 'over')(word), askedMs: Number(askedMs) };
}

import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { APPENDED_ENTRY, hset, orMisplaced, type AuditLog } from '../audit/audit-log.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { lanesOf } from './bands.ts';
import { standingIn, standingText, type PoolState } from './pool-state.ts';

const END = loadScript(new URL('./lua/end-emptying.lua', import.meta.url), orMisplaced('ended', 'stale'), {
  included: [APPENDED_ENTRY],
});

/** How the state of a pool stands in the audit log. */
const ACTIONS = { open: 'pool.resume', paused: 'pool.pause', draining: 'pool.drain' } as const satisfies Record<
  PoolState,
  string
>;

/** An emptying of a pool that goes on, or the last one. */
export interface Emptying {
  /** An API key's id, or `cli`. */
  readonly by: string;
  readonly askedMs: number;
  /** How many jobs waited then. */
  readonly found: number;
  /** Of how many the cancellation was asked so far. */
  readonly cancelled: number;
  /** Undefined while it goes on. */
  readonly endedMs: number | undefined;
}

/** A pool of the catalog as its operator has left it. */
export interface Pool {
  readonly name: string;
  readonly state: PoolState;
  /** Since when, and who said so; undefined where it is open. */
  readonly sinceMs: number | undefined;
  readonly by: string | undefined;
  /** Jobs that no worker has claimed. */
  readonly waiting: number;
  /** Undefined where it was never emptied. */
  readonly emptying: Emptying | undefined;
}

/**
 * What the operator has made of the pools: paused, drained, emptied. Each act and its entry in the audit log
 * are one step. Any number of processes at once.
 */
export class Pools {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #catalog: Pick<Catalog, 'all' | 'pools'>;
  readonly #audit: AuditLog;

  constructor(redis: Redis, keys: RedisKeys, catalog: Pick<Catalog, 'all' | 'pools'>, audit: AuditLog) {
    this.#redis = redis;
    this.#keys = keys;
    this.#catalog = catalog;
    this.#audit = audit;
  }

  /** The pools of the catalog. */
  list(): Promise<Pool[]> {
    return Promise.all(this.#catalog.pools().map((name) => this.get(name)));
  }

  /** Throws CodedError `pool_not_found`. */
  async get(name: string): Promise<Pool> {
    this.#require(name);
    const [kept, said, waiting] = await Promise.all([
      this.#redis.hget(this.#keys.poolStates, name),
      this.#redis.hgetall(this.#keys.emptying(name)),
      this.#waiting(name),
    ]);
    const standing = standingIn(kept ?? '');
    return {
      name,
      state: standing?.state ?? 'open',
      sinceMs: standing?.sinceMs,
      by: standing?.by,
      waiting,
      emptying: emptyingIn(said),
    };
  }

  /**
   * Pauses, drains or opens a pool again; one that stands so already is left as it is. It counts at once, for
   * every process. Throws CodedError `pool_not_found`.
   */
  async put(by: string, name: string, state: PoolState): Promise<Pool> {
    const { state: before } = await this.get(name);
    if (before !== state) {
      const text = state === 'open' ? undefined : standingText({ state, sinceMs: Date.now(), by });
      const { poolStates } = this.#keys;
      await this.#audit.with({ by, action: ACTIONS[state], target: name, tenant: null, detail: { before } }, [
        text === undefined ? ['HDEL', poolStates, name] : hset(poolStates, { [name]: text }),
      ]);
    }
    return this.get(name);
  }

  /**
   * Asks for what waits in a pool to be cancelled, which a courier carries out; asking again begins anew with
   * what waits then. Throws CodedError `pool_not_found`.
   */
  async empty(by: string, name: string): Promise<Pool> {
    this.#require(name);
    const found = await this.#waiting(name);
    const emptying = this.#keys.emptying(name);
    await this.#audit.with({ by, action: 'pool.empty', target: name, tenant: null, detail: { found } }, [
      ['UNLINK', emptying],
      hset(emptying, { by, asked: Date.now(), found, cancelled: 0 }),
    ]);
    return this.get(name);
  }

  /** Notes that the emptying which was asked for at this time is over. Doing so twice changes nothing. */
  async emptied(name: string, askedMs: number): Promise<void> {
    const emptying = emptyingIn(await this.#redis.hgetall(this.#keys.emptying(name)));
    if (emptying?.askedMs !== askedMs) return;
    const { by, cancelled } = emptying;
    const act = { by: 'courier', action: 'pool.emptied', target: name, tenant: null, detail: { by, cancelled } };
    await this.#audit.withScript(act, 'ended', (number, entry) =>
      END.run(this.#redis, [this.#keys.emptying(name)], [this.#keys.prefix, askedMs, Date.now(), number, entry]),
    );
  }

  /** The queues of a pool. */
  queuesOf(name: string): string[] {
    return this.#catalog.all().flatMap((model) => (model.pool === name ? [queueName(name, model.name)] : []));
  }

  async #waiting(name: string): Promise<number> {
    const { later, backlog, released } = this.#keys;
    const sets = this.queuesOf(name).flatMap((queue) => [
      later(queue),
      ...lanesOf(queue).map((lane) => backlog(lane)),
      released(queue),
    ]);
    const counts = await Promise.all(sets.map((set) => this.#redis.zcard(set)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #require(name: string): void {
    if (this.#catalog.pools().includes(name)) return;
    throw new CodedError('pool_not_found', 'There is no pool of this name in the catalog.', {
      hint: 'countersign pools list shows them',
    });
  }
}

function emptyingIn(said: Record<string, string>): Emptying | undefined {
  const { by = '', asked, found = '0', cancelled = '0', ended } = said;
  if (asked === undefined) return undefined;
  return {
    by,
    askedMs: Number(asked),
    found: Number(found),
    cancelled: Number(cancelled),
    endedMs: ended === undefined ? undefined : Number(ended),
  };
}

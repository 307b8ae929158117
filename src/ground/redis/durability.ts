import type { Redis } from 'ioredis';
import { CodedError } from '../errors/coded-error.ts';

/**
 * What a written thing waits for before anybody is told of it.
 * - `always`: the server's disk, which `appendfsync always` asks before it answers.
 * - `everysec`: nothing; a power failure takes the last second, and a failover what was not yet replicated.
 * - `replicas`: so many replicas have it in memory.
 */
export type DurabilityLevel =
  { readonly kind: 'always' | 'everysec' } | { readonly kind: 'replicas'; readonly count: number };

/** Replicas that have not acknowledged within this time are not waited for. */
export const SETTLE_MS = 1_000;

/** The level that a configuration names, in the form that its schema accepts. */
export function durabilityLevel(text: string): DurabilityLevel {
  if (text === 'always' || text === 'everysec') return { kind: text };
  return { kind: 'replicas', count: Number(text.slice('replicas:'.length)) };
}

/** Waits until what was written is as durable as was configured. Any number of calls may run at once. */
export class Durability {
  readonly level: DurabilityLevel;
  readonly #replication = new WeakMap<Redis, Replication>();

  constructor(level: DurabilityLevel) {
    this.level = level;
  }

  /**
   * Resolves when everything that this connection was answered before the call is durable, also what others
   * wrote and it read. Call it at once after the answer. WAIT blocks the connection: with `replicas`, use one
   * that does nothing but such writes.
   *
   * Throws CodedError `not_durable` where too few replicas acknowledge in time, or the connection was lost
   * and nobody can know. What was written may stay all the same.
   */
  async settled(redis: Redis): Promise<void> {
    if (this.level.kind !== 'replicas') return;
    const known = this.#replication.get(redis);
    const replication = known ?? new Replication(redis, this.level.count);
    if (known === undefined) this.#replication.set(redis, replication);
    await replication.settled();
  }
}

/** The acknowledgements of one connection: one WAIT at a time, and what comes meanwhile shares the next. */
class Replication {
  readonly #redis: Redis;
  readonly #count: number;
  #now: Promise<number> | undefined;
  #next: Promise<number> | undefined;
  #losses = 0;

  constructor(redis: Redis, count: number) {
    this.#redis = redis;
    this.#count = count;
    // A new connection has written nothing, and WAIT on it would answer for nothing, perhaps on another
    // server.
    redis.on('close', () => (this.#losses += 1));
  }

  async settled(): Promise<void> {
    const losses = this.#losses;
    const acknowledged = await this.#share().catch((cause: unknown) => {
      throw notDurable(0, this.#count, cause);
    });
    if (this.#losses !== losses) throw notDurable(0, this.#count);
    if (acknowledged < this.#count) throw notDurable(acknowledged, this.#count);
  }

  #share(): Promise<number> {
    if (this.#now === undefined) return this.#ask();
    this.#next ??= this.#now.then(
      () => this.#ask(),
      () => this.#ask(),
    );
    return this.#next;
  }

  #ask(): Promise<number> {
    this.#next = undefined;
    const asked = this.#redis.wait(this.#count, SETTLE_MS).finally(() => (this.#now = undefined));
    this.#now = asked;
    return asked;
  }
}

function notDurable(found: number, wanted: number, cause?: unknown): CodedError {
  return new CodedError(
    'not_durable',
    `It was written, but ${found} of ${wanted} replicas have said so in time; send the same request again with the same Idempotency-Key to learn whether it stayed.`,
    { cause, headers: { 'retry-after': '1' } },
  );
}

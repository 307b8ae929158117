import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Claim } from './claims.ts';

const FLUSH_MS = 40;
/**
 * Provisional output is of use only while a client follows the job; the confirmed output is kept elsewhere.
 */
const CHUNK_LIFE_MS = 600_000;
const MAX_CHUNKS = 4_000;

/**
 * Writes the provisional output of one attempt, gathered for 40 ms at a time. It never holds up the engine:
 * what cannot be written is dropped, because the confirmed output does not depend on it.
 */
export class ChunkStream {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #claim: Claim;
  readonly #worker: string;
  readonly #channel: string;
  #mayWrite = false;
  #text = '';
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Nothing is written before `begun` is: who follows the job hears of its attempt first. */
  constructor(redis: Redis, keys: RedisKeys, pool: string, claim: Claim, worker: string, begun?: Promise<unknown>) {
    this.#redis = redis;
    this.#keys = keys;
    this.#claim = claim;
    this.#worker = worker;
    this.#channel = keys.piecesChannel(pool);
    if (begun === undefined) this.#mayWrite = true;
    else void begun.finally(() => this.#begin());
  }

  /** Adds a piece of text, to be sent within 40 ms. */
  write(piece: string): void {
    this.#text += piece;
    if (!this.#mayWrite) return;
    // The first piece goes out at once, for the time to the first token; later ones are gathered.
    if (this.#count === 0) {
      this.flush();
      return;
    }
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  #begin(): void {
    this.#mayWrite = true;
    this.flush();
  }

  /** Sends what was gathered. Call it before the commit, so that no chunk comes after the evidence. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#mayWrite || this.#text === '' || this.#count >= MAX_CHUNKS || this.#redis.status !== 'ready') return;
    this.#count += 1;
    const key = this.#keys.chunks(this.#claim.id);
    this.#redis
      .pipeline()
      .xadd(key, '*', 'e', this.#claim.epoch, 'w', this.#worker, 'n', this.#count, 'd', this.#text)
      .pexpire(key, CHUNK_LIFE_MS)
      .publish(this.#channel, this.#claim.id)
      .exec()
      .catch(() => undefined);
    this.#text = '';
  }
}

import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Claim } from './claims.ts';
import type { PieceLink } from './links.ts';

const FLUSH_MS = 40;
/**
 * Provisional output is of use only while a client follows the job; the confirmed output is kept elsewhere.
 */
const CHUNK_LIFE_MS = 600_000;
/** Most pieces of one attempt. */
export const MAX_CHUNKS = 4_000;

/**
 * Writes the provisional output of one attempt, gathered for 40 ms at a time. It never holds up the engine:
 * what cannot be written is dropped, because the confirmed output does not depend on it.
 */
export class ChunkStream {
  readonly #link: PieceLink;
  readonly #claim: Claim;
  #mayWrite = false;
  #text = '';
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Nothing is written before `begun` is: who follows the job hears of its attempt first. */
  constructor(link: PieceLink, claim: Claim, begun?: Promise<unknown>) {
    this.#link = link;
    this.#claim = claim;
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
    if (!this.#mayWrite || this.#text === '' || this.#count >= MAX_CHUNKS) return;
    if (!this.#link.send(this.#claim, this.#count + 1, this.#text)) return;
    this.#count += 1;
    this.#text = '';
  }
}

/** Writes pieces into the stream of their job, and wakes who follows it. */
export class RedisPieces implements PieceLink {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #worker: string;
  readonly #channel: string;

  constructor(redis: Redis, keys: RedisKeys, pool: string, worker: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#worker = worker;
    this.#channel = keys.piecesChannel(pool);
  }

  send({ id, epoch }: Pick<Claim, 'id' | 'epoch'>, number: number, text: string): boolean {
    if (this.#redis.status !== 'ready') return false;
    const key = this.#keys.chunks(id);
    this.#redis
      .pipeline()
      .xadd(key, '*', 'e', epoch, 'w', this.#worker, 'n', number, 'd', text)
      .pexpire(key, CHUNK_LIFE_MS)
      .publish(this.#channel, id)
      .exec()
      .catch(() => undefined);
    return true;
  }
}

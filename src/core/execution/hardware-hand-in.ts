import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { PublicKey } from '../../ground/keys/signing-key.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { decodeStored, verifyPayload } from '../../proof/receipts/dsse.ts';
import { SESSION_LIFE_MS } from '../../proof/receipts/promises/tee.ts';
import { CHALLENGE_EVERY_MS, SESSION_TYPE } from '../attestation/tee/tee-session.ts';

/** Where challenges to a worker's hardware come from, and where its evidence goes. */
export interface HardwareLink {
  /** The newest challenge, or undefined where no attestor asks for evidence. */
  newest(): Promise<string | undefined>;
  /** Hands in evidence that the worker signed, in its stored form. */
  handIn(stored: string): Promise<void>;
}

/** Hardware evidence by way of Redis. */
export class RedisHardware {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #pool: string;

  constructor(redis: Redis, keys: RedisKeys, pool: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#pool = pool;
  }

  async newest(): Promise<string | undefined> {
    const [nonce] = await this.#redis.zrange(this.#keys.challenges, '-1', '-1');
    return nonce;
  }

  /** The evidence of this worker, for as long as a session lasts. */
  async handIn(worker: string, stored: string): Promise<void> {
    await this.#redis.set(this.#keys.hardware(this.#pool, worker), stored, 'PX', SESSION_LIFE_MS + CHALLENGE_EVERY_MS);
  }
}

/** Throws CodedError `statement_invalid` where the holder of this key did not sign this hardware evidence. */
export function requireOwnHardware(key: PublicKey, stored: string): void {
  const signed = decodeStored(Buffer.from(stored));
  if (signed === undefined || !verifyPayload(key, signed, SESSION_TYPE))
    throw new CodedError('statement_invalid', 'The evidence of the hardware is not signed by this worker.');
}

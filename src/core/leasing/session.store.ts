import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { verifyBytes, workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { sessionBytes } from '../remote/request-signature.ts';

const ADMIT = loadScript(new URL('./lua/admit-request.lua', import.meta.url), oneOf('ok', 'unknown', 'replayed'));

export const CHALLENGE_MS = 60_000;
/** So many numbers of requests are remembered. */
export const SLOTS = 128;

interface SessionParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly pool: string;
  readonly lifeMs: number;
}

/**
 * The sessions of the workers of a pool, which all of its gateways know: a worker may ask any of them, and
 * one that dies costs a reconnect. A session is worth nothing without the key of its worker.
 */
export class Sessions {
  readonly #parts: SessionParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  get lifeMs(): number {
    return this.#parts.lifeMs;
  }

  /** A challenge (64 hexadecimal digits), which can be answered once, for a minute. */
  async challenge(): Promise<string> {
    const { redis, keys, pool } = this.#parts;
    const challenge = freshRandom(32).toString('hex');
    await redis.set(keys.gatewayChallenge(pool, challenge), '1', 'PX', CHALLENGE_MS);
    return challenge;
  }

  /**
   * A new session for the worker that signed the challenge with this key. Throws CodedError
   * `signature_invalid`, what `requireRate` throws, `worker_not_enrolled` or `challenge_unknown`; the
   * signature is looked at first, and then, with `requireRate`, whether this worker may open another.
   */
  async open(challenge: string, key: PublicKey, signature: Uint8Array, requireRate: () => void): Promise<string> {
    const { redis, keys, pool, lifeMs } = this.#parts;
    if (!verifyBytes(key, sessionBytes(challenge), signature))
      throw new CodedError('signature_invalid', 'The challenge is not signed by the key that is named.');
    requireRate();
    const worker = workerIdOf(key);
    if ((await redis.sismember(keys.enrolled(pool), worker)) !== 1)
      throw new CodedError('worker_not_enrolled', `${worker} is not on the list of workers of the pool ${pool}.`, {
        hint: 'ask the operator of the pool to enrol it',
      });
    await this.answered(challenge);
    const session = freshRandom(16).toString('hex');
    const own = keys.gatewaySession(pool, session);
    // Together, so that no crash leaves a session without an end.
    await redis.multi().hset(own, 'worker', worker).pexpire(own, lifeMs).exec();
    return session;
  }

  /** Takes a challenge as answered, once. Throws CodedError `challenge_unknown`. */
  async answered(challenge: string): Promise<void> {
    const { redis, keys, pool } = this.#parts;
    if ((await redis.del(keys.gatewayChallenge(pool, challenge))) === 1) return;
    throw new CodedError('challenge_unknown', 'The challenge was answered, has ended, or is not one of this pool.');
  }

  /** Admits a request once. Throws CodedError `session_unknown` or `request_replayed`. */
  async admit(session: string, worker: string, number: number): Promise<void> {
    const { redis, keys, pool } = this.#parts;
    const reply = await ADMIT.run(redis, [keys.gatewaySession(pool, session)], [worker, number, SLOTS]);
    if (reply === 'unknown')
      throw new CodedError(
        'session_unknown',
        'There is no such session of this worker, or it has ended; open another.',
      );
    if (reply === 'replayed')
      throw new CodedError('request_replayed', 'A request with this number, or many later ones, came before.');
  }
}

import { createHmac } from 'node:crypto';
import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { Sequencer } from './sequencer.ts';

const DAY_MS = 86_400_000;
/** A day's secret is published when no job of that day can be open any more. */
const TELL_AFTER_DAYS = 3;
const TOLD_DAYS = 30;

const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/**
 * Which attempts are drawn for slow methods, by a secret of the day on which the job was asked. The log holds
 * a digest of each day's secret before that day begins, and the secret is published when the day's jobs have
 * ended. Then anyone can check that an attestor drew as it had to, and that it could not choose after it saw
 * the answers. The secret comes from the log's key, which all attestors of a log share: whatever keys they
 * sign verdicts with, they draw alike, and the promised share is the share of all of them together.
 */
export class AuditDraws {
  readonly #logKey: SigningKey;
  readonly #secrets = new Map<string, Buffer>();

  constructor(logKey: SigningKey) {
    this.#logKey = logKey;
  }

  /** The same attempt is always drawn alike, whichever attestor looks and however often. */
  isDrawn(label: string, share: number, job: string, epoch: number, createdMs: number): boolean {
    if (share <= 0) return false;
    if (share >= 1) return true;
    const draw = createHmac('sha256', this.#secretOf(dayOf(createdMs)))
      .update(`countersign/draw/v1\0${label}\0${job}\0${epoch}`)
      .digest();
    return draw.readUIntBE(0, 6) / 2 ** 48 < share;
  }

  /** Puts today's and tomorrow's digests into the log, once. */
  async commit(sequencer: Sequencer, nowMs: number): Promise<void> {
    for (const ms of [nowMs, nowMs + DAY_MS]) {
      const day = dayOf(ms);
      const payload = Buffer.from(JSON.stringify({ day, secretSha256: sha256Hex(this.#secretOf(day)) }));
      await sequencer.logDocument('draw', this.#logKey.public.id, payload);
    }
  }

  /** Publishes the secrets of days that are over. */
  async tell(redis: Redis, keys: RedisKeys, nowMs: number): Promise<void> {
    const told = Array.from({ length: TOLD_DAYS }, (_, at) => dayOf(nowMs - (TELL_AFTER_DAYS + at) * DAY_MS));
    await redis.hset(
      keys.logDraws,
      told.flatMap((day) => [day, this.#secretOf(day).toString('hex')]),
    );
  }

  #secretOf(day: string): Buffer {
    let secret = this.#secrets.get(day);
    if (secret === undefined) {
      secret = createHmac('sha256', this.#logKey.derive('countersign/draw-secret/v3')).update(day).digest();
      if (this.#secrets.size > 100) this.#secrets.clear();
      this.#secrets.set(day, secret);
    }
    return secret;
  }
}

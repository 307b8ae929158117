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
 * sign verdicts with, they draw alike, and the promised share is the share of all of them together. Where the
 * log's key was changed, a day whose digest is in the log already keeps the secret of the key before.
 */
export class AuditDraws {
  readonly #logKey: SigningKey;
  readonly #keyBefore: SigningKey | undefined;
  /** The days that began under the key before. */
  #daysBefore: ReadonlySet<string> = new Set();
  readonly #secrets = new Map<string, Buffer>();

  constructor(logKey: SigningKey, keyBefore?: SigningKey) {
    this.#logKey = logKey;
    this.#keyBefore = keyBefore;
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

  /**
   * Puts today's and tomorrow's digests into the log, once, and publishes the secrets of days that are over.
   * Nothing is drawn before this has ended for the first time: it learns which days began under the key
   * before.
   */
  async keep(sequencer: Sequencer, redis: Redis, keys: RedisKeys, nowMs: number): Promise<void> {
    await this.#learn(redis, keys, nowMs);
    await Promise.all([this.#commit(sequencer, nowMs), this.#tell(redis, keys, nowMs)]);
  }

  async #learn(redis: Redis, keys: RedisKeys, nowMs: number): Promise<void> {
    const before = this.#keyBefore;
    if (before === undefined) return;
    const days = Array.from({ length: TELL_AFTER_DAYS + TOLD_DAYS + 1 }, (_, at) => dayOf(nowMs + (1 - at) * DAY_MS));
    const names = days.map((day) => `draw ${sha256Hex(commitment(day, secretFrom(before, day)))}`);
    const found = await redis.hmget(keys.logDocuments, ...names);
    this.#daysBefore = new Set(days.filter((_, at) => typeof found[at] === 'string'));
    this.#secrets.clear();
  }

  async #commit(sequencer: Sequencer, nowMs: number): Promise<void> {
    for (const ms of [nowMs, nowMs + DAY_MS]) {
      const day = dayOf(ms);
      await sequencer.logDocument('draw', this.#keyOf(day).public.id, commitment(day, this.#secretOf(day)));
    }
  }

  async #tell(redis: Redis, keys: RedisKeys, nowMs: number): Promise<void> {
    const told = Array.from({ length: TOLD_DAYS }, (_, at) => dayOf(nowMs - (TELL_AFTER_DAYS + at) * DAY_MS));
    await redis.hset(
      keys.logDraws,
      told.flatMap((day) => [day, this.#secretOf(day).toString('hex')]),
    );
  }

  #keyOf(day: string): SigningKey {
    return this.#daysBefore.has(day) ? (this.#keyBefore ?? this.#logKey) : this.#logKey;
  }

  #secretOf(day: string): Buffer {
    let secret = this.#secrets.get(day);
    if (secret === undefined) {
      secret = secretFrom(this.#keyOf(day), day);
      if (this.#secrets.size > 100) this.#secrets.clear();
      this.#secrets.set(day, secret);
    }
    return secret;
  }
}

const secretFrom = (key: SigningKey, day: string) =>
  createHmac('sha256', key.derive('countersign/draw-secret/v3')).update(day).digest();

/** What the log holds of a day before it begins. */
const commitment = (day: string, secret: Buffer) =>
  Buffer.from(JSON.stringify({ day, secretSha256: sha256Hex(secret) }));

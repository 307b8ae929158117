import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Collateral } from '../attestation/tee/tee-collateral.ts';
import { TeePolicy, freshUntilMs, teePolicyDigest } from '../attestation/tee/tee-policy.ts';
import { TeeRefused, type TeeRefusal } from '../attestation/tee/tee-refused.ts';
import {
  CHALLENGE_EVERY_MS,
  MAX_SESSION_BYTES,
  SESSION_TYPE,
  TeeSession,
  sessionSubject,
} from '../attestation/tee/tee-session.ts';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { PublicKey } from '../../ground/keys/signing-key.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { decodeStored, verifyPayload } from '../../proof/receipts/dsse.ts';
import { SESSION_LIFE_MS, type Hardware } from '../../proof/receipts/promises/tee.ts';

const LOOK_EVERY_MS = 1_000;
const RETRY_MS = 5_000;
const MACHINE_REFUSALS: ReadonlySet<TeeRefusal> = new Set([
  'TEE_REVOKED',
  'TEE_DEBUG',
  'TEE_TCB_OUT_OF_DATE',
  'TEE_MEASUREMENT_UNKNOWN',
  'TEE_CONFIGURATION_FORBIDDEN',
]);

interface Seen {
  /** SHA-256 of what the worker handed in. */
  readonly sha256: string;
  readonly hardware: Hardware | undefined;
  readonly models: ReadonlySet<string>;
  readonly untilMs: number;
  /** Evidence that could not be judged is looked at again from here on. */
  readonly againMs: number;
}

/** The operator's policy for hardware, as its file says it. Throws CodedError `config_invalid`. */
export function readTeePolicy(path: string): { policy: TeePolicy; bytes: Buffer } {
  try {
    const bytes = readFileSync(path);
    return { policy: TeePolicy.parse(JSON.parse(bytes.toString('utf8'))), bytes };
  } catch (cause) {
    throw new CodedError('config_invalid', `${path} is no policy for hardware: ${messageOf(cause).slice(0, 300)}.`, {
      cause,
    });
  }
}

/**
 * Challenges workers for evidence of their machines and judges what they hand in, beside the path of jobs: a
 * verdict only looks up what was found. Every attestor judges for itself; challenges are shared, so that a
 * worker answers one of them.
 */
export class HardwareSessions {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #pools: readonly string[];
  readonly #policy: TeePolicy;
  readonly #policySha256: string;
  readonly #collateral: Collateral;
  readonly #blobs: BlobStore;
  readonly #idsOf: (pool: string) => readonly string[];
  readonly #keyOf: (worker: string) => PublicKey | undefined;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;
  readonly #warn: (error: unknown) => void;
  #seen: ReadonlyMap<string, Seen> = new Map();

  constructor(parts: {
    redis: Redis;
    keys: RedisKeys;
    pools: readonly string[];
    policy: TeePolicy;
    collateral: Collateral;
    blobs: BlobStore;
    /** Its key if its word counts now. */
    /** The workers of a pool that are on the list of workers. */
    idsOf: (pool: string) => readonly string[];
    keyOf: (worker: string) => PublicKey | undefined;
    logger: Logger;
  }) {
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#pools = parts.pools;
    this.#policy = parts.policy;
    this.#policySha256 = teePolicyDigest(parts.policy);
    this.#collateral = parts.collateral;
    this.#blobs = parts.blobs;
    this.#idsOf = parts.idsOf;
    this.#keyOf = parts.keyOf;
    this.#logger = parts.logger;
    this.#warn = rateLimited(5_000, (error) => this.#logger.warn(`hardware: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, RETRY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** What was found of the machine of a worker that runs this model; undefined where nothing holds now. */
  of(
    worker: string,
    model: { readonly name: string; readonly sha256: string },
    atMs = Date.now(),
  ): Hardware | undefined {
    const seen = this.#seen.get(worker);
    return seen !== undefined && atMs < seen.untilMs && seen.models.has(`${model.name} ${model.sha256}`)
      ? seen.hardware
      : undefined;
  }

  /** Whether some worker's machine is believed to run this model. */
  serves(model: { readonly name: string; readonly sha256: string }): boolean {
    return [...this.#seen.keys()].some((worker) => this.of(worker, model) !== undefined);
  }

  /** When to look again, ms. */
  async #look(): Promise<number> {
    const now = Date.now();
    const challenges = await this.#challenges(now);
    const seen = new Map<string, Seen>();
    for (const pool of this.#pools) {
      for (const worker of this.#idsOf(pool)) {
        const found = await this.#judge(pool, worker, challenges, now);
        if (found !== undefined) seen.set(worker, found);
      }
    }
    this.#seen = seen;
    return LOOK_EVERY_MS;
  }

  /** The challenges that count, by when they were made; a new one where it is time. */
  async #challenges(now: number): Promise<Map<string, number>> {
    const key = this.#keys.challenges;
    const rows = await this.#redis.zrange(key, '0', '-1', 'WITHSCORES');
    const all = new Map(rows.flatMap((cell, at) => (at % 2 === 0 ? [[cell, Number(rows[at + 1])] as const] : [])));
    if (Math.max(0, ...all.values()) <= now - CHALLENGE_EVERY_MS) {
      const fresh = freshRandom(32).toString('hex');
      await this.#redis.zadd(key, now, fresh);
      await this.#redis.zremrangebyscore(key, '-inf', now - 2 * SESSION_LIFE_MS);
      all.set(fresh, now);
    }
    return all;
  }

  async #judge(
    pool: string,
    worker: string,
    challenges: ReadonlyMap<string, number>,
    now: number,
  ): Promise<Seen | undefined> {
    const key = this.#keys.hardware(pool, worker);
    const before = this.#seen.get(worker);
    const size = await this.#redis.strlen(key).catch(() => 0);
    // What another worker of the pool wrote in its place leaves what was found before.
    if (size === 0 || size > MAX_SESSION_BYTES) return stillHolds(before, now) ? before : undefined;
    const text = await this.#redis.get(key);
    if (text === null) return undefined;
    const sha256 = sha256Hex(text);
    if (before?.sha256 === sha256 && now < before.againMs) return before;
    const nothing = (againMs: number) => ({
      sha256,
      hardware: undefined,
      models: new Set<string>(),
      untilMs: 0,
      againMs,
    });
    try {
      const publicKey = this.#keyOf(worker);
      // It may be enrolled in a moment.
      if (publicKey === undefined) return nothing(now + RETRY_MS);
      const signed = decodeStored(Buffer.from(text));
      // What the worker did not sign is not its word, and leaves what was found before.
      if (signed === undefined || !verifyPayload(publicKey, signed, SESSION_TYPE))
        return stillHolds(before, now) ? before : nothing(now + RETRY_MS);
      return await this.#believe(worker, publicKey, signed.payload, challenges, now);
    } catch (error) {
      if (isAboutEvidence(error)) {
        const why = error instanceof TeeRefused ? `${error.refusal}: ${error.message}` : 'it is malformed';
        this.#logger.warn({ worker }, `the machine of a worker is not accepted: ${why}`);
        const keeps = stillHolds(before, now) && !isOfMachine(error);
        // These very bytes are not judged again, whatever was found before them.
        return keeps ? { ...before, sha256, againMs: Infinity } : nothing(Infinity);
      }
      this.#warn(`the machine of ${worker} cannot be judged now: ${messageOf(error)}`);
      return stillHolds(before, now) ? before : nothing(now + RETRY_MS);
    }
  }

  /** What a session shows. Throws TeeRefused where its evidence does not hold. */
  async #believe(
    worker: string,
    publicKey: PublicKey,
    text: Buffer,
    challenges: ReadonlyMap<string, number>,
    now: number,
  ): Promise<Seen> {
    const session = TeeSession.parse(JSON.parse(text.toString('utf8')));
    const madeMs = challenges.get(session.nonce);
    if (madeMs === undefined || madeMs <= now - SESSION_LIFE_MS)
      throw new TeeRefused('TEE_NOT_FRESH', 'The evidence answers no challenge that counts.');
    const subject = sessionSubject(worker, publicKey.bytes, session);
    const collateral = await this.#collateral.for(session.evidence);
    // Loaded when the first evidence comes: most attestors never see any, and its packages are large.
    const { verifyTeeEvidence } = await import('../attestation/tee/verify-tee-evidence.ts');
    const found = await verifyTeeEvidence(session.evidence, collateral, subject, this.#policy, now);
    const { properties, warnings, gpus } = found;
    const sha256 = await this.#blobs.put(text);
    this.#logger.info({ worker, properties, warnings, gpus }, 'the machine of a worker is accepted');
    return {
      sha256,
      hardware: {
        evidence: { sha256 },
        policy: { sha256: this.#policySha256 },
        verifiedAt: new Date(now).toISOString(),
        properties: [...properties],
        warnings: [...warnings],
        ...(gpus.length === 0 ? {} : { gpus: [...gpus] }),
      },
      models: new Set(session.models.map(({ name, sha256: digest }) => `${name} ${digest}`)),
      untilMs: Math.min(madeMs + SESSION_LIFE_MS, freshUntilMs(found.found, this.#policy)),
      againMs: Infinity,
    };
  }
}

function stillHolds(seen: Seen | undefined, now: number): seen is Seen {
  return seen?.hardware !== undefined && now < seen.untilMs;
}

/**
 * Whether genuine evidence shows a machine that the policy does not accept: what was found of it before is
 * not so any more. Evidence that is garbled, stale or another's says nothing about the machine.
 */
function isOfMachine(error: unknown): boolean {
  return error instanceof TeeRefused && MACHINE_REFUSALS.has(error.refusal);
}

/**
 * Whether the worker is at fault, and not a maker that is away, a disk that is full, or a list that has
 * ended.
 */
function isAboutEvidence(error: unknown): boolean {
  return error instanceof TeeRefused || error instanceof z.ZodError || error instanceof SyntaxError;
}

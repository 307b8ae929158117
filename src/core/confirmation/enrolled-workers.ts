import { readFileSync, statSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { publicKeyFromBase64, type PublicKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { openWorkerList, refusalAt, type WorkerEntry } from '../registry/worker-list.ts';
import type { Bar } from '../attestation/refusal.ts';

const RELOAD_MS = 1_000;

/** Puts a list into the log; it comes into force when that has been done. */
type RecordList = (keyId: string, payload: Buffer) => Promise<unknown>;

/**
 * The workers whose signatures count, from the signed list. It is read again when it changes, so that a
 * worker is taken out within a second. A list with a lower serial than any attestor has seen is refused (a
 * rollback), as is one that is unreadable: the last good one stays in force, until the day on which it ends.
 */
export class EnrolledWorkers {
  readonly #path: string;
  readonly #signers: readonly PublicKey[];
  readonly #logger: Logger;
  #entries: ReadonlyMap<string, { key: PublicKey; entry: WorkerEntry }> = new Map();
  #operators: Readonly<Record<string, number>> = {};
  #quarantined: ReadonlySet<string> = new Set();
  #expiresMs = 0;
  #serial = 0;
  #modifiedMs = NaN;
  #timer: NodeJS.Timeout | undefined;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #record: RecordList;

  constructor(parts: {
    path: string;
    signers: readonly PublicKey[];
    redis: Redis;
    keys: RedisKeys;
    logger: Logger;
    record: RecordList;
  }) {
    this.#path = parts.path;
    this.#signers = parts.signers;
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#record = parts.record;
    this.#logger = parts.logger;
  }

  /** Throws CodedError `key_file_unfit` where there is no list that may come into force. */
  async start(): Promise<void> {
    await this.#load();
    this.#timer = setInterval(() => {
      this.#load().catch((error: unknown) =>
        this.#logger.error(`the list of workers could not be read again: ${messageOf(error)}`),
      );
    }, RELOAD_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /**
   * The key of a worker whose word counts at this time (ms), or why it does not. Throws CodedError
   * `registry_expired`: then nobody's does, and nobody is refuted for it.
   */
  find(id: string, atMs: number): PublicKey | Bar {
    if (atMs > this.#expiresMs)
      throw new CodedError(
        'registry_expired',
        `The list of workers ended on ${new Date(this.#expiresMs).toISOString()}; jobs wait for the next one.`,
        { hint: 'sign it again with: countersign workers renew' },
      );
    const found = this.#entries.get(id);
    if (found === undefined) return 'WORKER_UNKNOWN';
    if (this.#quarantined.has(id)) return 'WORKER_QUARANTINED';
    return refusalAt(found.entry, atMs) ?? found.key;
  }

  /** Who runs a worker that is on the list. */
  operatorOf(id: string): string | undefined {
    return this.#entries.get(id)?.entry.operator;
  }

  /**
   * How many operators have workers of good standing for a pool, of at most 200 pools: an announcement has a
   * bound, and a pool that it leaves out is refused nothing.
   */
  get operators(): Readonly<Record<string, number>> {
    return this.#operators;
  }

  /** Whether a worker that is on the list may serve a pool. */
  mayServe(id: string, pool: string): boolean {
    return this.#entries.get(id)?.entry.pools.includes(pool) ?? false;
  }

  /** Why a worker may not work in a pool at this time (ms), or undefined where it may. Throws as `find`. */
  barFrom(id: string, pool: string, atMs: number): Bar | undefined {
    const found = this.find(id, atMs);
    if (typeof found === 'string') return found;
    return this.mayServe(id, pool) ? undefined : 'WORKER_NOT_OF_POOL';
  }

  /** The ids of the list's workers of a pool. */
  idsOf(pool: string): string[] {
    return [...this.#entries].flatMap(([id, { entry }]) => (entry.pools.includes(pool) ? [id] : []));
  }

  /** The serial of the list in force. */
  get serial(): number {
    return this.#serial;
  }

  async #load(): Promise<void> {
    this.#quarantined = new Set(await this.#redis.smembers(this.#keys.quarantined));
    const modified = modifiedMs(this.#path);
    if (modified === this.#modifiedMs) return;
    const { list, payload, keyId } = openWorkerList(readFileSync(this.#path, 'utf8'), this.#signers);
    const highest = Number((await this.#redis.zscore(this.#keys.registry, 'serial')) ?? 0);
    if (list.serial < highest)
      throw new CodedError(
        'key_file_unfit',
        `The list of workers has the serial ${list.serial}, and ${highest} was in force already: it has been rolled back.`,
      );
    await this.#record(keyId, payload);
    await this.#redis.zadd(this.#keys.registry, 'GT', list.serial, 'serial');
    this.#entries = new Map(
      list.workers.map((entry) => [entry.id, { key: publicKeyFromBase64(entry.publicKey), entry }]),
    );
    this.#operators = operatorsOf(list.workers);
    this.#expiresMs = Date.parse(list.expires);
    this.#serial = list.serial;
    this.#modifiedMs = modified;
    this.#logger.info({ serial: list.serial, workers: list.workers.length }, 'list of workers in force');
  }
}

const MOST_POOLS = 200;

/** Of each pool, how many operators have active workers for it. */
export function operatorsOf(
  workers: readonly Pick<WorkerEntry, 'pools' | 'operator' | 'standing'>[],
): Record<string, number> {
  const found = new Map<string, Set<string>>();
  for (const { pools, operator, standing } of workers)
    for (const pool of pools) {
      const operators = found.get(pool) ?? new Set();
      if (standing.state === 'active') operators.add(operator);
      found.set(pool, operators);
    }
  return Object.fromEntries([...found].slice(0, MOST_POOLS).map(([pool, { size }]) => [pool, size]));
}

function modifiedMs(path: string): number {
  try {
    return statSync(path).mtimeMs;
  } catch (cause) {
    throw new CodedError('key_file_unfit', `${path} cannot be read.`, { cause });
  }
}

import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { parseInfo } from './requirements.ts';

const LOOK_EVERY_MS = 1_000;
/** A figure that is older is not relied on: whoever asks waits for the next one. */
const MAX_AGE_MS = 5_000;
/** It opens again when this share of the ceiling is in use, so that it does not open and close in turns. */
const REOPEN_SHARE = 0.95;
const RETRY_AFTER_S = 5;

export interface Ceiling {
  /** Of the server's `maxmemory`. A server without one has no ceiling. */
  readonly share: number;
  /** In place of the share. */
  readonly bytes?: number | undefined;
}

/**
 * Closes admission while Redis has memory left for the work that it holds: where Redis itself refuses writes,
 * nothing can end any more. Redis is asked at most once a second, however many callers there are. Where it
 * does not answer, the last answer counts.
 */
export class StorageGate {
  readonly #redis: Redis;
  readonly #ceiling: Ceiling;
  #looking: Promise<void> | undefined;
  #lookedMs = -Infinity;
  #isFull = false;

  constructor(redis: Redis, ceiling: Ceiling) {
    this.#redis = redis;
    this.#ceiling = ceiling;
  }

  /** Whether new work is refused now. */
  async isFull(): Promise<boolean> {
    const age = performance.now() - this.#lookedMs;
    if (age > LOOK_EVERY_MS) {
      this.#looking ??= this.#look().finally(() => {
        this.#lookedMs = performance.now();
        this.#looking = undefined;
      });
      if (age > MAX_AGE_MS) await this.#looking;
    }
    return this.#isFull;
  }

  /** Throws CodedError `storage_full` while new work is refused. */
  async requireRoom(): Promise<void> {
    if (await this.isFull()) throw storageFull();
  }

  async #look(): Promise<void> {
    const info = await Promise.all([this.#redis.info('memory'), this.#redis.info('persistence')]).catch(
      () => undefined,
    );
    if (info === undefined) return;
    const facts = parseInfo(info.join('\n'));
    const number = (name: string) => Number(facts.get(name) ?? 0);
    const ceiling = this.#ceiling.bytes ?? this.#ceiling.share * number('maxmemory');
    // What Redis holds its limit against: without the buffers of replicas and of the append-only file.
    const used = number('used_memory') - number('mem_not_counted_for_evict');
    // Redis takes no write while it cannot write its append-only file.
    const isDiskFull = facts.get('aof_enabled') === '1' && facts.get('aof_last_write_status') === 'err';
    this.#isFull = isDiskFull || this.#isOver(ceiling, used);
  }

  #isOver(ceiling: number, used: number): boolean {
    return ceiling > 0 && used >= ceiling * (this.#isFull ? REOPEN_SHARE : 1);
  }
}

/** The refusal of new work, also where Redis itself has refused a write. */
export function storageFull(cause?: unknown): CodedError {
  return new CodedError('storage_full', 'The storage is nearly full; new work is taken again when there is room.', {
    cause,
    hint: 'what was accepted goes on; send the same request again later, with the same Idempotency-Key',
    headers: { 'retry-after': String(RETRY_AFTER_S) },
  });
}

/** Whether Redis refused a write because it has no room for it, in its memory or on its disk. */
export function isOutOfRoom(error: unknown): boolean {
  return isOutOfMemory(error) || messageOf(error).startsWith('MISCONF ');
}

/** Whether Redis refused a write because its memory is at its limit, alone or within a transaction. */
export function isOutOfMemory(error: unknown): boolean {
  if (messageOf(error).startsWith('OOM ')) return true;
  if (typeof error !== 'object' || error === null || !('previousErrors' in error)) return false;
  return Array.isArray(error.previousErrors) && error.previousErrors.some(isOutOfMemory);
}

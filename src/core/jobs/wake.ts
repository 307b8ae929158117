import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';

const BLOCK_MS = 5_000;
/** A waiter reads again this often without a wake-up, because a wake-up can be lost and a document cannot. */
export const LOOK_AGAIN_MS = 2_000;

/**
 * Tells waiters that the documents of a job may have changed. It follows the wake streams from their end.
 * After a lost connection it wakes every waiter, because it cannot know what it missed.
 */
export class Wake {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #warn: (error: unknown) => void;
  #stopped = false;
  #loop: Promise<void> | undefined;

  /** `redis` must be a connection of its own, because reads on it block. */
  constructor(redis: Redis, keys: RedisKeys, logger: Logger) {
    this.#redis = redis;
    this.#keys = keys;
    this.#warn = rateLimited(5_000, (error) => logger.warn(`wake: ${messageOf(error).slice(0, 200)}`));
  }

  start(): void {
    this.#loop = this.#follow();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#redis.disconnect();
    await this.#loop;
  }

  /** Calls `wake` at each wake-up of the job until the result is disposed of. */
  listen(id: string, wake: () => void): Disposable {
    const listeners = this.#waiting.get(id) ?? new Set();
    listeners.add(wake);
    this.#waiting.set(id, listeners);
    return {
      [Symbol.dispose]: () => {
        listeners.delete(wake);
        if (listeners.size === 0) this.#waiting.delete(id);
      },
    };
  }

  async #follow(): Promise<void> {
    let last: Map<string, string> | undefined;
    while (!this.#stopped) {
      try {
        last ??= await this.#ends();
        const reply = await this.#redis.xread(
          'COUNT',
          500,
          'BLOCK',
          BLOCK_MS,
          'STREAMS',
          ...last.keys(),
          ...last.values(),
        );
        for (const [stream, entries] of reply ?? []) {
          for (const [entryId, fields] of entries) {
            last.set(stream, entryId);
            for (let at = 0; at + 1 < fields.length; at += 2) {
              if (fields[at] === 'ids' || fields[at] === 'id')
                for (const id of (fields[at + 1] ?? '').split(' ')) this.#wake(id);
            }
          }
        }
      } catch (error) {
        if (this.#isStopped()) return;
        this.#warn(error);
        last = undefined;
        await sleep(200);
        for (const id of this.#waiting.keys()) this.#wake(id);
      }
    }
  }

  /** The last entry of each stream now. */
  async #ends(): Promise<Map<string, string>> {
    const streams = [this.#keys.workerWake, this.#keys.attestorWake, this.#keys.attest];
    const found = await Promise.all(streams.map((stream) => this.#redis.xrevrange(stream, '+', '-', 'COUNT', 1)));
    return new Map(streams.map((stream, index) => [stream, found[index]?.[0]?.[0] ?? '0-0']));
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  #wake(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }
}

/**
 * Resolves when `woken` resolves, after `ms`, or when the signal is aborted, whichever comes first. Removes
 * its timer and its listener.
 */
export async function waitFor(woken: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let aborted: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
    aborted = resolve;
    signal.addEventListener('abort', aborted, { once: true });
  });
  await Promise.race([woken, over]);
  clearTimeout(timer);
  signal.removeEventListener('abort', aborted);
}

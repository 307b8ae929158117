import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { isJobId } from './job-id.ts';

/** A waiter reads again this often without a wake-up, because a wake-up can be lost and a document cannot. */
export const LOOK_AGAIN_MS = 1_000;
/** No honest message names more jobs than fit into this many characters. */
const MAX_MESSAGE = 65_536;

interface WakeParts {
  /** Two connections that do nothing else. Floods by workers reach only the second. */
  readonly trusted: Redis;
  readonly fromPools: Redis;
  readonly keys: RedisKeys;
  readonly pools: readonly string[];
  readonly logger: Logger;
}

/**
 * Tells waiters that the documents of a job may have changed. It is told by pub/sub, by trusted roles and by
 * the workers of each pool; what workers say wakes somebody for nothing at worst. After a lost connection it
 * wakes every waiter, because it cannot know what it missed.
 */
export class Wake {
  readonly #parts: WakeParts;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #hearers = new Set<(id: string) => void>();
  readonly #warn: (error: unknown) => void;
  #stopped = false;

  constructor(parts: WakeParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error) => parts.logger.warn(`wake: ${messageOf(error).slice(0, 200)}`));
  }

  start(): void {
    const { trusted, fromPools, keys, pools } = this.#parts;
    this.#follow(trusted, [keys.changesChannel, keys.admittedChannel]);
    this.#follow(
      fromPools,
      pools.flatMap((pool) => [keys.piecesChannel(pool), keys.commitsChannel(pool)]),
    );
  }

  stop(): void {
    this.#stopped = true;
    this.#parts.trusted.disconnect();
    this.#parts.fromPools.disconnect();
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

  /** Calls `hear` with the id of every job that may have changed, until the result is disposed of. */
  hear(hear: (id: string) => void): Disposable {
    this.#hearers.add(hear);
    return { [Symbol.dispose]: () => this.#hearers.delete(hear) };
  }

  #follow(redis: Redis, channels: readonly string[]): void {
    redis.on('message', (_channel: string, text: string) => {
      if (text.length > MAX_MESSAGE) return;
      for (const id of text.split(' ')) if (isJobId(id)) this.#wake(id);
    });
    redis.on('ready', () => {
      for (const id of this.#waiting.keys()) this.#wake(id);
    });
    redis.subscribe(...channels).catch((error: unknown) => {
      if (!this.#stopped) this.#warn(error);
    });
  }

  #wake(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
    for (const hear of this.#hearers) hear(id);
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

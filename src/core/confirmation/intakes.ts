import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Backlog } from '../backlog/backlog.ts';
import type { Schedules } from '../backlog/schedules.ts';
import type { Decisions } from './decisions.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import { Intake } from './intake.ts';

interface IntakesParts {
  readonly redis: Redis;
  /** A connection that does nothing else. */
  readonly wakes: Redis;
  readonly keys: RedisKeys;
  readonly pools: readonly string[];
  readonly decisions: Decisions;
  readonly enrolled: EnrolledWorkers;
  readonly backlog: Backlog;
  readonly schedules: Schedules;
  readonly consumer: string;
  readonly logger: Logger;
}

/**
 * An intake for each pool's mailbox, and one for what users cancel. Each reads at its own pace, so that what
 * the workers of one pool do to theirs holds up no other.
 */
export class Intakes {
  readonly #wakes: Redis;
  readonly #byChannel: ReadonlyMap<string, Intake>;
  readonly #warn: (error: unknown) => void;
  #stopped = false;

  constructor({ wakes, keys, pools, logger, ...parts }: IntakesParts) {
    this.#wakes = wakes;
    const intake = (stream: string, pool: string | undefined) => new Intake({ ...parts, keys, logger, stream, pool });
    this.#byChannel = new Map([
      [keys.cancelsChannel, intake(keys.cancels, undefined)],
      ...pools.map((pool): [string, Intake] => [keys.commitsChannel(pool), intake(keys.attest(pool), pool)]),
    ]);
    this.#warn = rateLimited(5_000, (error) => logger.warn(`wake-ups are not heard: ${messageOf(error)}`));
  }

  start(): void {
    this.#wakes.on('message', (name: string) => this.#byChannel.get(name)?.wake());
    this.#wakes.on('ready', () => this.#wakeAll());
    this.#wakes.subscribe(...this.#byChannel.keys()).catch((error: unknown) => {
      if (!this.#stopped) this.#warn(error);
    });
    for (const intake of this.#byChannel.values()) intake.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wakes.disconnect();
    await Promise.all([...this.#byChannel.values()].map((intake) => intake.stop()));
  }

  #wakeAll(): void {
    for (const intake of this.#byChannel.values()) intake.wake();
  }
}

import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Aside } from './aside.ts';
import { readCases, type CaseFile } from './case-file.ts';
import type { Decisions } from './decisions.ts';

const LOOK_EVERY_MS = 500;

interface ScheduleParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly aside: Aside;
  readonly decisions: Decisions;
  readonly logger: Logger;
}

/** Tries the cases that were put aside again, each when its pause is over, by the code of the normal path. */
export class AsideSchedule {
  readonly #parts: ScheduleParts;
  readonly #looks: PeriodicTask;

  constructor(parts: ScheduleParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error: unknown, suppressed) =>
      parts.logger.warn({ suppressed }, `cases put aside: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(
      async () => {
        await this.once();
        return LOOK_EVERY_MS;
      },
      warn,
      LOOK_EVERY_MS,
    );
  }

  start(): void {
    this.#looks.start(LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    await this.#looks.stop();
  }

  /** One look at what is due. What fails in it comes again when it counts as nobody's. */
  async once(): Promise<void> {
    const { redis, keys, aside, decisions } = this.#parts;
    const due = await aside.takeDue();
    if (due.length === 0) return;
    const files = await readCases(
      redis,
      keys,
      due.map((id) => ({ id })),
    );
    const open = files.flatMap((file) => (file !== undefined && isToJudge(file) ? [file] : []));
    const { pending } = await decisions.judgeAgain(open);
    const isPending = new Set(pending.map(({ id }) => id));
    await aside.remove(due.filter((id) => !isPending.has(id)));
  }
}

function isToJudge({ ended, phase, logged, statement }: CaseFile): boolean {
  return !ended && phase === 'attesting' && logged === undefined && statement.kind !== 'missing';
}

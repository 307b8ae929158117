import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { BatchAnswers, HeldBatch } from './batch-answers.store.ts';
import type { BatchFiles } from './batch-files.store.ts';
import { READ_AT_ONCE, type LineParts } from './batch-jobs.ts';
import { BatchRun } from './batch-run.ts';
import { COURIER_AWAY_MS, isOver, type BatchRecord, type Batches, type HeldStatus } from './batch.store.ts';
import { EndWatch } from './end-watch.ts';
import { FairTurns } from './fair-turns.ts';

const LOOK_EVERY_MS = 250;
const LEASE_MS = 4_000;
const RENEW_EVERY_MS = 1_000;
/**
 * Of the batches that nobody runs, the share that one look takes: couriers that start together share them.
 */
const SHARE_OF_A_LOOK = 8;
/** Lines that one courier submits at once. */
const SUBMISSIONS_AT_ONCE = 64;
const CLEAN_EVERY_MS = 3_600_000;

interface RunnerParts extends LineParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly batches: Batches;
  readonly files: BatchFiles;
  readonly answers: BatchAnswers;
}

interface Running {
  readonly held: HeldBatch;
  readonly record: BatchRecord;
  readonly run: BatchRun;
  readonly work: Promise<void>;
  renewedMs: number;
}

/**
 * Runs all open batches at once, each in one courier at a time: lines are submitted and answers read in turns
 * that are fair by tenant and then by batch, and whatever waits holds nothing. The lease is renewed here, and
 * here a batch is told of its cancellation and of the end of its window.
 */
export class BatchRunner {
  readonly #parts: RunnerParts;
  readonly #logger: Logger;
  readonly #owner = freshRandom(12).toString('hex');
  readonly #running = new Map<string, Running>();
  /** Batches that failed to go on, and when to try again. */
  readonly #resting = new Map<string, { failures: number; untilMs: number }>();
  readonly #warn: (error: unknown) => void;
  readonly #looks: PeriodicTask;
  readonly #renewals: PeriodicTask;
  readonly #watch: EndWatch;
  readonly #submissions = new FairTurns(SUBMISSIONS_AT_ONCE);
  /** Answers of jobs that one courier holds in memory at once. */
  readonly #readings = new FairTurns(READ_AT_ONCE);
  #takes = 0;
  #lastClean = -Infinity;

  constructor(parts: RunnerParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    const { clock } = parts;
    const say = (error: unknown) => logger.warn(`batches: ${messageOf(error).slice(0, 300)}`);
    this.#warn = rateLimited(5_000, say, clock);
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS, clock);
    this.#renewals = new PeriodicTask(() => this.#renew(), this.#warn, RENEW_EVERY_MS, clock);
    this.#watch = new EndWatch(parts.redis, parts.keys, clock, logger);
  }

  /** Begins to look for batches. */
  start(): void {
    this.#watch.start();
    this.#looks.start();
    this.#renewals.start();
  }

  /**
   * Gives up what runs and resolves when it has stopped. Another courier goes on with it, or this one later.
   */
  async stop(): Promise<void> {
    await this.#looks.stop();
    for (const { run } of this.#running.values()) run.leave();
    await Promise.all([...this.#running.values()].map(({ work }) => work));
    await this.#renewals.stop();
    await this.#watch.stop();
  }

  /** Takes batches that nobody runs. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const now = this.#parts.clock.steadyMs();
    const waiting = (await this.#parts.batches.open()).filter(
      (id) => !this.#running.has(id) && (this.#resting.get(id)?.untilMs ?? 0) <= now,
    );
    const most = Math.max(2, Math.ceil(waiting.length / SHARE_OF_A_LOOK));
    const gone: string[] = [];
    let taken = 0;
    for (const id of waiting) {
      if (taken >= most) break;
      this.#takes += 1;
      const held = { id, holder: `${this.#owner}.${this.#takes}` };
      const status = await this.#parts.batches.hold(held, LEASE_MS, 'take');
      if (status === undefined) continue;
      const record = await this.#parts.batches.read(id);
      if (record === undefined || isOver(record.status)) {
        await this.#parts.batches.giveUp(held);
        if (status.status === '') gone.push(id);
        continue;
      }
      taken += 1;
      this.#begin(held, record);
    }
    await this.#parts.batches.forget(gone);
    await this.#clean();
    return LOOK_EVERY_MS;
  }

  #begin(held: HeldBatch, record: BatchRecord): void {
    const { id } = record;
    const { clock } = this.#parts;
    const parts = { ...this.#parts, watch: this.#watch, submissions: this.#submissions, readings: this.#readings };
    const run = new BatchRun(parts, this.#logger, record, held);
    if (clock.nowMs() >= record.expiresMs) run.stop('expired');
    const work = run
      .run()
      .then(
        () => this.#resting.delete(id),
        (error: unknown) => {
          this.#logger.warn({ batch: id }, `a batch cannot go on now: ${messageOf(error).slice(0, 300)}`);
          const failures = (this.#resting.get(id)?.failures ?? 0) + 1;
          this.#resting.set(id, { failures, untilMs: clock.steadyMs() + growingPause(failures) });
        },
      )
      .then(() => this.#parts.batches.giveUp(held))
      .catch(this.#warn)
      .finally(() => this.#running.delete(id));
    this.#running.set(id, { held, record, run, work, renewedMs: clock.steadyMs() });
  }

  /** Renews the leases, and stops the batches that are to be stopped. Returns when to do so again, in ms. */
  async #renew(): Promise<number> {
    const running = [...this.#running.values()];
    const { clock } = this.#parts;
    await Promise.all(
      running.map(async (one) => {
        try {
          const status = await this.#parts.batches.hold(one.held, LEASE_MS, 'renew');
          if (status === undefined) {
            one.run.leave();
            return;
          }
          one.renewedMs = clock.steadyMs();
          heed(one, status, clock.nowMs());
        } catch (error) {
          this.#warn(error);
          if (clock.steadyMs() - one.renewedMs > LEASE_MS) one.run.leave();
        }
      }),
    );
    return RENEW_EVERY_MS;
  }

  async #clean(): Promise<void> {
    const { batches, files, answers, redis, keys, clock } = this.#parts;
    if (clock.steadyMs() - this.#lastClean < CLEAN_EVERY_MS) return;
    this.#lastClean = clock.steadyMs();
    const inUse: string[] = [];
    for (const id of await batches.open()) {
      const record = await batches.read(id);
      if (record !== undefined) inUse.push(record.inputSha256, ...(await answers.blobsOf(id)));
    }
    // A blob of an open batch is made young each hour.
    await files.clean(COURIER_AWAY_MS, inUse);
    const spared = await redis.zrangebyscore(keys.batchJobs, '-inf', clock.nowMs(), 'LIMIT', 0, 10_000);
    if (spared.length > 0) await redis.zrem(keys.batchJobs, ...spared);
  }
}

/** Stops a batch that was cancelled, by its owner or with its tenant or key, or whose window is over. */
function heed({ run }: Running, { status, expiresMs, stop }: HeldStatus, nowMs: number): void {
  if (status === '') run.leave();
  else if (status === 'cancelling') run.stop(stop ?? 'cancelled');
  else if (nowMs >= expiresMs) run.stop('expired');
}

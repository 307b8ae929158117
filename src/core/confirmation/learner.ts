import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { lanesOf } from '../backlog/bands.ts';
import { standingIn } from '../backlog/pool-state.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { keepLearned } from '../forecast/learned.store.ts';
import { toldIn } from '../forecast/offer.ts';
import type { SlotTimes } from '../forecast/slot-times.ts';
import type { CaseFile } from './case-file.ts';
import type { Confirmation } from './confirmation.ts';

const KEEP_EVERY_MS = 250;
/** What limits hold back stands behind every tag, as in turns.lua. */
const HELD_TAG = '(1e15';
/** What is not kept yet of one queue; more than is confirmed in that time. */
const MOST_PENDING = 5_000;

type Lesson = (times: SlotTimes, queue: { waiting: number; slots: number }) => void;

interface LearnerParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly catalog: Catalog;
  readonly logger: Logger;
}

/**
 * Learns from what became of jobs: how long they held their slots, and whether they ended when they were told
 * that they would. It is kept four times a second; a crash loses a moment's figures, and nobody's job.
 */
export class Learner {
  readonly #parts: LearnerParts;
  readonly #pending = new Map<string, Lesson[]>();
  readonly #keeping: PeriodicTask;

  constructor(parts: LearnerParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error) => parts.logger.warn(`learner: ${messageOf(error).slice(0, 300)}`));
    this.#keeping = new PeriodicTask(() => this.#keep(), warn, KEEP_EVERY_MS);
  }

  start(): void {
    this.#keeping.start();
  }

  async stop(): Promise<void> {
    await this.#keeping.stop();
    await this.#keep().catch(() => undefined);
  }

  /** Learns from a confirmed job. */
  confirmed({ file, size, tookMs }: Confirmation): void {
    const kept = file.told === undefined ? undefined : toldIn(file.told);
    const heldMs = heldFor(file) ?? tookMs;
    const waited = kept !== undefined && kept.distance > 0 ? waitOf(file) : undefined;
    const afterMs = Math.max(0, file.nowMs - (file.committedMs ?? file.nowMs));
    this.#note(file.queue, (times, queue) => {
      const cost = kept?.cost ?? times.costOf(size, file.flow);
      times.learn({ size, flow: file.flow, tookMs: heldMs, cost, afterMs, waited, atMs: file.nowMs });
      // What is told is told of the first attempt.
      if (kept !== undefined && file.epoch === 1) times.score(kept.told, file.nowMs - file.createdMs, queue);
    });
  }

  /** Learns that a job that was admitted has not ended in time. */
  missed({ queue, told }: Pick<CaseFile, 'queue' | 'told'>): void {
    const kept = told === undefined ? undefined : toldIn(told);
    if (kept !== undefined) this.#note(queue, (times, figures) => times.score(kept.told, Infinity, figures));
  }

  #note(queue: string, lesson: Lesson): void {
    const pending = this.#pending.get(queue) ?? [];
    if (pending.length < MOST_PENDING) pending.push(lesson);
    this.#pending.set(queue, pending);
  }

  async #keep(): Promise<number> {
    const { redis, keys, catalog } = this.#parts;
    for (const { pool, name, hint } of catalog.all()) {
      const queue = queueName(pool, name);
      const lessons = this.#pending.get(queue);
      if (lessons === undefined) continue;
      this.#pending.delete(queue);
      const [[seconds, micros], waiting, released, slots, standing] = await Promise.all([
        redis.time(),
        this.#waitingIn(queue),
        redis.zcard(keys.released(queue)),
        redis.hget(keys.pace(queue), 'slots'),
        redis.hget(keys.poolStates, pool),
      ]);
      const figures = { waiting, slots: Number(slots ?? 0) };
      const atMs = Number(seconds) * 1_000 + Number(micros) / 1_000;
      // While the pool is paused, slots have nothing to do whatever waits.
      const ready = standingIn(standing ?? '')?.state === 'paused' ? 0 : waiting + released;
      let least = 0;
      await keepLearned(this.#parts, queue, hint, (times) => {
        for (const lesson of lessons) lesson(times, figures);
        times.look({ atMs, waiting: ready, slots: figures.slots });
        least = times.leastOfAnyMs;
      });
      await redis.hset(keys.pace(queue), 'least', least.toFixed(1));
    }
    return KEEP_EVERY_MS;
  }

  /** Jobs of all bands that wait and that no limit holds back. */
  async #waitingIn(queue: string): Promise<number> {
    const { redis, keys } = this.#parts;
    const counts = await Promise.all(lanesOf(queue).map((lane) => redis.zcount(keys.backlog(lane), '-inf', HELD_TAG)));
    return counts.reduce((sum, count) => sum + count, 0);
  }
}

/** For how long (ms) the worker held a slot for it, from the beginning of its engine to its commit. */
function heldFor({ attempts, epoch, committedMs }: CaseFile): number | undefined {
  const beganMs = attempts.find((attempt) => attempt.epoch === epoch)?.beganMs;
  if (beganMs === undefined || committedMs === undefined || committedMs < beganMs) return undefined;
  return committedMs - beganMs;
}

/** From when to when it waited for its first attempt, the one that was confirmed. */
function waitOf({ attempts, epoch, createdMs }: CaseFile): { fromMs: number; untilMs: number } | undefined {
  const beganMs = epoch === 1 ? attempts.find((attempt) => attempt.epoch === epoch)?.beganMs : undefined;
  return beganMs === undefined ? undefined : { fromMs: createdMs, untilMs: beganMs };
}

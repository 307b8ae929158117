import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { LoadedEngines } from '../engines/loaded-engines.ts';
import type { JobRunner } from './job-runner.ts';
import type { DeliveryLink, DemandLink } from './links.ts';
import { nextSwap, type Swap, type TurnTaker } from './swap-choice.ts';

const AFTER_FAILURE_MS = 1_000;

interface SwapParts {
  readonly engines: LoadedEngines;
  readonly runner: Pick<JobRunner, 'atWork'>;
  readonly consumers: Pick<DeliveryLink, 'take'>;
  readonly demand: DemandLink;
  readonly pool: string;
  /** How many models are held at once, and how often it is asked what waits (ms). */
  readonly resident: number;
  readonly lookEveryMs: number;
  /** Whether jobs may be taken now. */
  readonly mayTake: () => boolean;
  readonly logger: Logger;
}

/** What is remembered of a model between two looks. Times in ms by the clock of this process. */
interface Turn {
  loadedMs: number | undefined;
  usedMs: number;
  /** What is next in its queue, and since when it is. */
  head: string | undefined;
  headMs: number;
}

/**
 * Lets the models of a worker that does not hold all of them take turns in its memory. One that is to make
 * room is given no new job, and its jobs end before it goes. What waits is judged by the clock of this
 * process alone, from when it was seen first.
 */
export class ModelSwaps {
  readonly #parts: SwapParts;
  readonly #turns = new Map<string, Turn>();
  readonly #looks: PeriodicTask;
  /** Makes room as soon as its jobs have ended. */
  #leaving: string | undefined;
  #isStopped = false;

  constructor(parts: SwapParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error) =>
      parts.logger.warn(`what waits for models is not known: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(() => this.#look(), warn, AFTER_FAILURE_MS);
  }

  start(): void {
    this.#looks.start();
  }

  /** No swap begins from now on; does not wait for a load. */
  stop(): void {
    this.#isStopped = true;
    void this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { engines, demand, resident, lookEveryMs, mayTake } = this.#parts;
    if (!mayTake()) return lookEveryMs;
    const names = engines.turnTakers().map(({ name }) => name);
    const heads = await demand.heads(names);
    const nowMs = performance.now();
    const swap = nextSwap(this.#seen(heads, nowMs), resident, nowMs);
    await this.#leave(swap?.unload);
    if (swap === undefined || this.#isStopped) return lookEveryMs;
    if (swap.unload !== undefined && this.#parts.runner.atWork(swap.unload) > 0) return lookEveryMs;
    await this.#swap(swap);
    return 0;
  }

  /** The models as they stand now, those remembered that there were before. */
  #seen(heads: ReadonlyMap<string, string>, nowMs: number): TurnTaker[] {
    return this.#parts.engines.turnTakers().map(({ name, isLoaded, coldMs, failures, failedMs }) => {
      const turn = this.#turns.get(name) ?? newTurn();
      this.#turns.set(name, turn);
      const head = heads.get(name);
      if (head !== turn.head) Object.assign(turn, { head, headMs: nowMs });
      turn.loadedMs = isLoaded ? (turn.loadedMs ?? nowMs) : undefined;
      const atWork = this.#parts.runner.atWork(name);
      if (atWork > 0 || turn.loadedMs === nowMs) turn.usedMs = nowMs;
      const hasFailed = !isLoaded && failures > 0;
      return {
        name,
        coldMs,
        atWork,
        loadedMs: turn.loadedMs,
        usedMs: turn.usedMs,
        // One that could not be loaded is tried again, whether or not anybody is told that it is there.
        waitingMs: hasFailed ? failedMs : head === undefined ? undefined : turn.headMs,
        notBeforeMs: hasFailed ? failedMs + growingPause(failures) : -Infinity,
      };
    });
  }

  /** This model takes no job from now on, and the one that was to make room before does again. */
  async #leave(model: string | undefined): Promise<void> {
    const { consumers, engines } = this.#parts;
    const before = this.#leaving;
    this.#leaving = model;
    if (before !== undefined && before !== model) await consumers.take(before, engines.get(before) !== undefined);
    if (model !== undefined) await consumers.take(model, false);
  }

  async #swap({ load, unload }: Swap): Promise<void> {
    const { engines, pool, logger } = this.#parts;
    if (unload !== undefined) {
      this.#leaving = undefined;
      await engines.rest(unload);
    }
    if (this.#isStopped) return;
    try {
      const tookMs = await engines.wake(load);
      count('countersign_model_loads_total', { pool, model: load });
      logger.info({ model: load, unloaded: unload, tookMs: Math.round(tookMs) }, 'a model was loaded');
    } catch (error) {
      this.#failed(load, error);
    }
  }

  #failed(model: string, error: unknown): void {
    if (this.#isStopped) return;
    this.#parts.logger.warn({ model }, `a model cannot be loaded now: ${messageOf(error).slice(0, 300)}`);
  }
}

const newTurn = (): Turn => ({
  loadedMs: undefined,
  usedMs: 0,
  head: undefined,
  headMs: 0,
});

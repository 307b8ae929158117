import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import type { EngineChildren } from './engine-children.ts';
import type { EngineModel } from './engine-kind.ts';
import type { Engine } from './engine.ts';
import { loadEngine } from './load-engine.ts';
import { tryEngine } from './trial.ts';

const LOOK_EVERY_MS = 2_000;
const PROBE_MS = 3_000;
const MAX_WHY = 200;

/** A model that is not served now, and why. */
export interface AwayModel {
  readonly name: string;
  readonly why: string;
}

/**
 * The engines that a process serves, by the names of their models. One that stands on a server, or computes
 * in a child, is away while that is, and one that only fails while it does; the others go on, and it is taken
 * up again when it is back.
 */
export class LoadedEngines {
  readonly #served: ReadonlyMap<string, ServedModel>;
  readonly #children: EngineChildren | undefined;
  #onChange: (model: string) => void = () => undefined;

  private constructor(models: readonly EngineModel[], logger: Logger, children: EngineChildren | undefined) {
    const changed = (model: string) => this.#onChange(model);
    const load = (model: EngineModel) =>
      model.computesHere && children !== undefined ? Promise.resolve(children.require(model.name)) : loadEngine(model);
    this.#children = children;
    this.#served = new Map(models.map((model) => [model.name, new ServedModel(model, load, changed, logger)]));
  }

  /**
   * Loads them at once; those that compute here are taken from `children`, where there are any. Throws as
   * `loadEngine`, but for models whose server is away: these may come later, as long as there is another.
   */
  static async load(models: readonly EngineModel[], logger: Logger, children?: EngineChildren): Promise<LoadedEngines> {
    const engines = new LoadedEngines(models, logger, children);
    const results = await Promise.allSettled(engines.#each((served) => served.load()));
    const failures = results.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
    const unfit = failures.find((error) => !isAway(error)) ?? (engines.all().length === 0 ? failures[0] : undefined);
    if (unfit === undefined) return engines;
    await engines.close();
    throw unfit instanceof Error ? unfit : new Error(messageOf(unfit));
  }

  /** Begins to look after servers and children; `onChange` hears of each model that has gone or come back. */
  watch(onChange: (model: string) => void): void {
    this.#onChange = onChange;
    for (const served of this.#served.values()) served.watch();
  }

  /** Those that are served now. */
  all(): Engine[] {
    return this.#each(({ engine }) => engine).filter((engine) => engine !== undefined);
  }

  away(): AwayModel[] {
    return this.#each(({ name, why }) => (why === undefined ? undefined : { name, why })).filter(
      (one) => one !== undefined,
    );
  }

  get(model: string): Engine | undefined {
    return this.#served.get(model)?.engine;
  }

  /** A job of this model was answered. */
  answered(model: string): void {
    this.#served.get(model)?.answered();
  }

  /** A job of this model failed, and its engine is to blame. */
  failed(model: string, error: unknown): void {
    this.#served.get(model)?.failed(error);
  }

  /** The engine of a model, once its server has shown that it is there; undefined while it is away. */
  async ready(model: string): Promise<Engine | undefined> {
    return this.#served.get(model)?.ready();
  }

  /** Gives back what the engines hold; nothing runs on them afterwards. */
  async close(): Promise<void> {
    await Promise.all(this.#each((served) => served.close()));
    await this.#children?.close();
  }

  #each<T>(of: (served: ServedModel) => T): T[] {
    return [...this.#served.values()].map(of);
  }
}

/** One model: served by its engine, or away. */
class ServedModel {
  readonly name: string;
  #loaded: Engine | undefined;
  #why: string | undefined;
  readonly #breaker = new CircuitBreaker();
  readonly #model: EngineModel;
  readonly #load: (model: EngineModel) => Promise<Engine>;
  readonly #onChange: (model: string) => void;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;
  #failures = 0;
  #probing: Promise<void> | undefined;

  constructor(
    model: EngineModel,
    load: (model: EngineModel) => Promise<Engine>,
    onChange: (model: string) => void,
    logger: Logger,
  ) {
    this.name = model.name;
    this.#model = model;
    this.#load = load;
    this.#onChange = onChange;
    this.#logger = logger;
    this.#looks = new PeriodicTask(
      () => this.#look(),
      () => undefined,
      LOOK_EVERY_MS,
    );
  }

  /** Undefined while it is away. */
  get engine(): Engine | undefined {
    return this.#breaker.isOpen ? undefined : this.#loaded;
  }

  /** Why it is away. */
  get why(): string | undefined {
    return this.engine === undefined ? this.#why : undefined;
  }

  async load(): Promise<void> {
    try {
      this.#loaded = await this.#load(this.#model);
      this.#breaker.answered();
      if (this.#why !== undefined) this.#logger.info({ model: this.name }, 'a model is served again');
      this.#why = undefined;
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      if (isAway(error)) this.#leave(error);
      throw error;
    }
    this.#onChange(this.name);
  }

  watch(): void {
    this.#looks.start(LOOK_EVERY_MS);
  }

  answered(): void {
    if (!this.#breaker.answered()) return;
    this.#why = undefined;
    this.#logger.info({ model: this.name }, 'a model is served again');
    this.#onChange(this.name);
  }

  failed(error: unknown): void {
    count('countersign_engine_failures_total', { model: this.name });
    if (!this.#breaker.failed()) return;
    this.#why = `its jobs fail: ${messageOf(error)}`.slice(0, MAX_WHY);
    this.#logger.warn({ model: this.name, why: this.#why }, 'a model is not served for now: its jobs fail in a row');
    this.#onChange(this.name);
    this.#looks.wake();
  }

  /** Those who ask at the same time share one answer. */
  async ready(): Promise<Engine | undefined> {
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    await this.#probing;
    return this.engine;
  }

  /** Does not wait for a server that does not answer. */
  async close(): Promise<void> {
    void this.#looks.stop();
    await this.#loaded?.close();
  }

  async #probe(): Promise<void> {
    const engine = this.#loaded;
    try {
      await engine?.probe?.(AbortSignal.timeout(PROBE_MS));
    } catch (error) {
      if (this.#loaded === engine) this.#leave(error);
    }
  }

  async #look(): Promise<number> {
    if (this.#loaded === undefined) await this.load().catch(() => undefined);
    else await this.ready();
    if (this.#loaded === undefined) return growingPause(this.#failures);
    return this.#breaker.isOpen ? this.#try(this.#loaded) : LOOK_EVERY_MS;
  }

  /** Asks an engine whose jobs fail whether it answers at all. Returns the pause until the next look. */
  async #try(engine: Engine): Promise<number> {
    try {
      await tryEngine(engine, this.#model.tasks[0] ?? 'completion');
    } catch (error) {
      this.#logger.debug({ model: this.name }, `its engine does not answer: ${messageOf(error).slice(0, MAX_WHY)}`);
      return this.#breaker.refused();
    }
    this.answered();
    return LOOK_EVERY_MS;
  }

  #leave(error: unknown): void {
    const isNew = this.#why === undefined;
    const left = this.#loaded;
    this.#loaded = undefined;
    this.#why = messageOf(error).slice(0, MAX_WHY);
    void left?.close();
    if (!isNew) return;
    this.#logger.warn({ model: this.name, why: this.#why }, 'a model is not served for now: what computes it is away');
    this.#onChange(this.name);
  }
}

function isAway(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'engine_away';
}

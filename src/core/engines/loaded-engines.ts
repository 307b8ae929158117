import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import type { ChildPerModel } from './child-per-model.ts';
import type { EngineChildren } from './engine-children.ts';
import type { EngineModel } from './engine-kind.ts';
import type { Engine, EngineIdentity } from './engine.ts';
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

/** A model that takes no memory now, and can be loaded. */
export interface RestingModel {
  readonly model: EngineModel;
  /** As of its last load; undefined before the first. */
  readonly identity: EngineIdentity | undefined;
  readonly coldMs: number;
}

/** A model that takes turns with others in the memory of this process. */
interface TurnTaking {
  readonly name: string;
  /** It takes memory, also where its process is away and comes back. */
  readonly isLoaded: boolean;
  /** What its load took (ms), or is expected to take. */
  readonly coldMs: number;
  /**
   * How often it could not be loaded, in a row, and when (ms, by the clock of this process) the last time.
   */
  readonly failures: number;
  readonly failedMs: number;
}

/**
 * Where engines compute that do so on this machine: in children for all at once, or in one for each model.
 */
type Children = EngineChildren | ChildPerModel;

/**
 * The engines that a process serves, by the names of their models. One that stands on a server, or computes
 * in a child, is away while that is, and one that only fails while it does; the others go on, and it is taken
 * up again when it is back. Where models take turns, one that rests takes no memory until it is woken.
 */
export class LoadedEngines {
  readonly #served: ReadonlyMap<string, ServedModel>;
  readonly #children: Children | undefined;
  #onChange: (model: string) => void = () => undefined;

  private constructor(models: readonly EngineModel[], logger: Logger, children: Children | undefined) {
    const changed = (model: string) => this.#onChange(model);
    const load = async (model: EngineModel) =>
      model.computesHere && children !== undefined ? children.require(model.name) : loadEngine(model);
    this.#children = children;
    this.#served = new Map(models.map((model) => [model.name, new ServedModel(model, load, changed, logger)]));
  }

  /**
   * Loads them at once; those that compute here are taken from `children`, where there are any, and all but
   * the first `resident` of these rest. Throws as `loadEngine`, but for models whose server is away: these
   * may come later, as long as there is another.
   */
  static async load(
    models: readonly EngineModel[],
    logger: Logger,
    children?: Children,
    resident = Infinity,
  ): Promise<LoadedEngines> {
    const engines = new LoadedEngines(models, logger, children);
    const turnTakers = engines.#each((served) => served).filter(({ model }) => model.computesHere);
    if (turnTakers.length > resident) for (const one of turnTakers) one.takeTurns();
    const first = turnTakers.slice(0, resident);
    const results = await Promise.allSettled(
      engines.#each((one) => (one.takesTurns && first.includes(one) ? one.wake() : one.load())),
    );
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

  /** Those that can be loaded and are not. */
  resting(): RestingModel[] {
    return this.#each((served) => served.resting).filter((one) => one !== undefined);
  }

  /** Those that take turns; none where all have room at once. */
  turnTakers(): TurnTaking[] {
    return this.#each((served) => served)
      .filter(({ takesTurns }) => takesTurns)
      .map(({ name, isLoaded, coldMs, failures, failedMs }) => ({ name, isLoaded, coldMs, failures, failedMs }));
  }

  /** Frees the memory of a model: nothing may run on its engine. */
  async rest(model: string): Promise<void> {
    this.#served.get(model)?.fallAsleep();
    if (this.#children !== undefined && 'unload' in this.#children) await this.#children.unload(model);
  }

  /**
   * Loads a model that rests, and returns how long (ms) that took. Throws as `loadEngine`; then it is away.
   */
  async wake(model: string): Promise<number> {
    return (await this.#served.get(model)?.wake()) ?? 0;
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
  readonly model: EngineModel;
  #loaded: Engine | undefined;
  #why: string | undefined;
  #takesTurns = false;
  #isResting = false;
  #identity: EngineIdentity | undefined;
  #coldMs: number;
  readonly #breaker = new CircuitBreaker();
  readonly #load: (model: EngineModel) => Promise<Engine>;
  readonly #onChange: (model: string) => void;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;
  #failures = 0;
  #failedMs = 0;
  #probing: Promise<void> | undefined;

  constructor(
    model: EngineModel,
    load: (model: EngineModel) => Promise<Engine>,
    onChange: (model: string) => void,
    logger: Logger,
  ) {
    this.name = model.name;
    this.model = model;
    this.#coldMs = model.hint.load_ms;
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

  get takesTurns(): boolean {
    return this.#takesTurns;
  }

  get failures(): number {
    return this.#failures;
  }

  get failedMs(): number {
    return this.#failedMs;
  }

  get isLoaded(): boolean {
    return !this.#isResting;
  }

  get coldMs(): number {
    return this.#coldMs;
  }

  /** Undefined where it is loaded, or cannot be. */
  get resting(): RestingModel | undefined {
    const { model, coldMs } = this;
    return this.#isResting && this.#why === undefined ? { model, identity: this.#identity, coldMs } : undefined;
  }

  /** It takes turns with others from now on, and rests until it is woken. */
  takeTurns(): void {
    this.#takesTurns = true;
    this.#isResting = true;
  }

  fallAsleep(): void {
    this.#isResting = true;
    this.#loaded = undefined;
    this.#why = undefined;
    this.#onChange(this.name);
  }

  /** Loads it, and returns how long (ms) that took. Throws as `loadEngine`; then it rests, and is away. */
  async wake(): Promise<number> {
    const began = performance.now();
    try {
      const engine = await this.#load(this.model);
      this.#isResting = false;
      this.#serve(engine);
    } catch (error) {
      this.#failures += 1;
      this.#failedMs = performance.now();
      this.#why = messageOf(error).slice(0, MAX_WHY);
      this.#onChange(this.name);
      throw error;
    }
    this.#coldMs = performance.now() - began;
    this.#onChange(this.name);
    return this.#coldMs;
  }

  /** Does nothing while it rests. */
  async load(): Promise<void> {
    if (this.#isResting) return;
    try {
      this.#serve(await this.#load(this.model));
    } catch (error) {
      this.#failures += 1;
      if (isAway(error)) this.#leave(error);
      throw error;
    }
    this.#onChange(this.name);
  }

  #serve(engine: Engine): void {
    this.#loaded = engine;
    this.#identity = engine.identity;
    this.#breaker.answered();
    if (this.#why !== undefined) this.#logger.info({ model: this.name }, 'a model is served again');
    this.#why = undefined;
    this.#failures = 0;
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
    if (this.#isResting) return LOOK_EVERY_MS;
    if (this.#loaded === undefined) await this.load().catch(() => undefined);
    else await this.ready();
    if (this.#loaded === undefined) return growingPause(this.#failures);
    return this.#breaker.isOpen ? this.#try(this.#loaded) : LOOK_EVERY_MS;
  }

  /** Asks an engine whose jobs fail whether it answers at all. Returns the pause until the next look. */
  async #try(engine: Engine): Promise<number> {
    try {
      await tryEngine(engine, this.model.tasks[0] ?? 'completion');
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

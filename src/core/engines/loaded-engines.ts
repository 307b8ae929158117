import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { EngineChildren } from './engine-children.ts';
import type { EngineModel } from './engine-kind.ts';
import type { Engine } from './engine.ts';
import { loadEngine } from './load-engine.ts';

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
 * in a child, is away while that is; the others go on, and it is taken up again when that is back.
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
  engine: Engine | undefined;
  /** Why it is away. */
  why: string | undefined;
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

  async load(): Promise<void> {
    try {
      this.engine = await this.#load(this.#model);
      if (this.why !== undefined) this.#logger.info({ model: this.name }, 'a model is served again');
      this.why = undefined;
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      if (isAway(error)) this.#leave(error);
      throw error;
    }
    this.#onChange(this.name);
  }

  /** An engine of this process is not away; one on a server or in a child is looked after. */
  watch(): void {
    if (this.engine === undefined || this.engine.probe !== undefined) this.#looks.start(LOOK_EVERY_MS);
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
    await this.engine?.close();
  }

  async #probe(): Promise<void> {
    const { engine } = this;
    try {
      await engine?.probe?.(AbortSignal.timeout(PROBE_MS));
    } catch (error) {
      if (this.engine === engine) this.#leave(error);
    }
  }

  async #look(): Promise<number> {
    if (this.engine !== undefined) await this.ready();
    else await this.load().catch(() => undefined);
    return this.engine === undefined ? growingPause(this.#failures) : LOOK_EVERY_MS;
  }

  #leave(error: unknown): void {
    const isNew = this.why === undefined;
    const left = this.engine;
    this.engine = undefined;
    this.why = messageOf(error).slice(0, MAX_WHY);
    if (!isNew) return;
    this.#logger.warn({ model: this.name, why: this.why }, 'a model is not served for now: what computes it is away');
    this.#onChange(this.name);
    void left?.close();
  }
}

function isAway(error: unknown): boolean {
  return error instanceof CodedError && error.code === 'engine_away';
}

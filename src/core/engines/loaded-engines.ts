import type { EngineModel } from './engine-kind.ts';
import type { Engine } from './engine.ts';
import { loadEngine } from './load-engine.ts';

/** The engines that a process has loaded, by the names of their models. */
export class LoadedEngines {
  readonly byName: ReadonlyMap<string, Engine>;

  constructor(engines: readonly Engine[]) {
    this.byName = new Map(engines.map((engine) => [engine.model.name, engine]));
  }

  /** Loads them at once. Throws as `loadEngine`. */
  static async load(models: readonly EngineModel[]): Promise<LoadedEngines> {
    return new LoadedEngines(await Promise.all(models.map((model) => loadEngine(model))));
  }

  all(): Engine[] {
    return [...this.byName.values()];
  }

  get(model: string): Engine | undefined {
    return this.byName.get(model);
  }

  /** Gives back what the engines hold; nothing runs on them afterwards. */
  async close(): Promise<void> {
    await Promise.all(this.all().map((engine) => engine.close()));
  }
}

import { CodedError } from '../../ground/errors/coded-error.ts';
import type { ChildEngines } from './child-engines.ts';
import type { Engine } from './engine.ts';
import type { EngineModel } from './engine-kind.ts';

/**
 * A child process for the models of each engine: what one computes, or what ends it, holds up no other. A
 * child runs one event loop, and a pass of one engine would come between any two tokens of another.
 */
export class EngineChildren {
  readonly models: readonly EngineModel[];
  readonly #children: ReadonlyMap<string, ChildEngines>;

  private constructor(models: readonly EngineModel[], children: ReadonlyMap<string, ChildEngines>) {
    this.models = models;
    this.#children = children;
  }

  /** Starts a child for each engine. Throws what the first of them throws that could not be started. */
  static async start(
    models: readonly EngineModel[],
    startOne: (models: readonly EngineModel[]) => Promise<ChildEngines>,
  ): Promise<EngineChildren> {
    const names = [...new Set(models.map(({ engine }) => engine))];
    const groups = names.map((name) => models.filter(({ engine }) => engine === name));
    const starts = await Promise.allSettled(
      groups.map(async (group) => {
        const child = await startOne(group);
        return group.map(({ name }) => [name, child] as const);
      }),
    );
    const started = starts.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    const children = new EngineChildren(models, new Map(started));
    const failed = starts.find((one) => one.status === 'rejected');
    if (failed === undefined) return children;
    await children.close();
    throw failed.reason;
  }

  /** The engine of a model that was loaded once; calls fail while its child is away. */
  get(model: string): Engine | undefined {
    return this.#children.get(model)?.get(model);
  }

  /** As `ChildEngines.loaded`. */
  readonly loaded = {
    get: (model: string): Engine | undefined => this.#children.get(model)?.loaded.get(model),
  };

  /** The engine of a model that its child has loaded. Throws CodedError `engine_away` where it has not. */
  require(model: string): Engine {
    const child = this.#children.get(model);
    if (child === undefined) throw new CodedError('engine_away', `No process computes ${model}.`);
    return child.require(model);
  }

  /** Ends them all; nothing runs on the engines afterwards. */
  async close(): Promise<void> {
    await Promise.all([...new Set(this.#children.values())].map((child) => child.close()));
  }
}

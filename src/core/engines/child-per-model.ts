import { CodedError } from '../../ground/errors/coded-error.ts';
import type { ChildEngines } from './child-engines.ts';
import type { Engine } from './engine.ts';

/**
 * A child process for each model, for as long as that is loaded: when it ends, all that it held is free. What
 * one question did to a child is remembered from one to the next.
 */
export class ChildPerModel {
  readonly #children: ReadonlyMap<string, ChildEngines>;
  #isClosed = false;

  /** `children` are not open. */
  constructor(children: ReadonlyMap<string, ChildEngines>) {
    this.#children = children;
  }

  /**
   * The engine of a model, once it is loaded. Throws the CodedError of a model that cannot be loaded, and
   * `engine_away` where its child has ended, and is started again.
   */
  async require(model: string): Promise<Engine> {
    const child = this.#children.get(model);
    if (child === undefined || this.#isClosed) throw new CodedError('engine_away', `No process computes ${model}.`);
    if (child.isOpen) return child.require(model);
    await child.open();
    try {
      return child.require(model);
    } catch (error) {
      await child.close();
      throw error;
    }
  }

  /** Ends the child of a model: nothing runs on its engine any more. */
  async unload(model: string): Promise<void> {
    await this.#children.get(model)?.close();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#children.values()].map((child) => child.close()));
  }
}

import type { StopReason } from './line-result.ts';

/** Whether a batch is stopped, and why. The first reason stays. */
export class BatchStop {
  readonly #controller = new AbortController();
  #reason: StopReason | undefined;

  /** Aborted from the first `stop` on. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get reason(): StopReason | undefined {
    return this.#reason;
  }

  stop(reason: StopReason): void {
    this.#reason ??= reason;
    this.#controller.abort();
  }
}

import type { Clock } from '../../ground/clock/clock.ts';
import type { StopReason } from './line-result.ts';

/** Whether a run of a batch goes on, and what its loop waits for. Only one may wait at once. */
export class BatchProgress {
  /** Aborted when this process may not go on with the batch. */
  readonly #left = new AbortController();
  /** Aborted when the lines are not read on. */
  readonly #halted = new AbortController();
  readonly #clock: Clock;
  #reason: StopReason | undefined;
  #isAnswered = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Aborted when this process may not go on with the batch: nothing is written from then on. */
  get left(): AbortSignal {
    return this.#left.signal;
  }

  get isLeft(): boolean {
    return this.#left.signal.aborted;
  }

  /** Aborted when no line is read or submitted any more. */
  get halted(): AbortSignal {
    return this.#halted.signal;
  }

  get isHalted(): boolean {
    return this.#halted.signal.aborted;
  }

  /** Why the batch is stopped, if it is. */
  get reason(): StopReason | undefined {
    return this.#reason;
  }

  /** Every line has its answer: from then on nothing stops the batch. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  answered(): void {
    this.#isAnswered = true;
  }

  /** Gives the batch up: the lease is lost, or the process stops. */
  leave(): void {
    this.#left.abort();
    this.#halted.abort();
    this.#wake();
  }

  /** No line is submitted from now on; the first reason stays. */
  stop(reason: StopReason): void {
    if (this.#isAnswered) return;
    this.#reason ??= reason;
    this.#halted.abort();
    this.#wake();
  }

  /** The batch is stopped for the reason that its record names, whatever was the first here. */
  heed(reason: StopReason): void {
    this.#reason = reason;
    this.#halted.abort();
    this.#wake();
  }

  /** What is waited for may have come. */
  wake(): void {
    this.#wake();
  }

  /** Resolves at the next change, or after `ms`. */
  async change(ms = Infinity): Promise<void> {
    let timer: Disposable | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (ms !== Infinity) timer = this.#clock.after(ms, resolve);
    });
    timer?.[Symbol.dispose]();
  }
}

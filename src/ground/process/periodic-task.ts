import { MACHINE_CLOCK, type Clock } from '../clock/clock.ts';

/**
 * Runs an action again and again, never twice at once. The action resolves to the number of milliseconds to
 * wait before the next run. An error goes to `onError`, which must not throw; the action then runs again
 * after `retryMs`.
 */
export class PeriodicTask {
  readonly #action: () => Promise<number>;
  readonly #onError: (error: unknown) => void;
  readonly #retryMs: number;
  readonly #clock: Clock;
  #timer: Disposable | undefined;
  #running: Promise<void> = Promise.resolve();
  #isRunning = false;
  #isWoken = false;
  #stopped = false;

  constructor(
    action: () => Promise<number>,
    onError: (error: unknown) => void,
    retryMs: number,
    clock: Clock = MACHINE_CLOCK,
  ) {
    this.#action = action;
    this.#onError = onError;
    this.#retryMs = retryMs;
    this.#clock = clock;
  }

  /** Schedules the first run. Call it once; after `stop` it does nothing. */
  start(firstMs = 0): void {
    if (this.#stopped) return;
    this.#timer = this.#clock.after(this.#isWoken ? 0 : firstMs, () => this.#run());
  }

  /** Runs the action now, or once more right after the run in progress. */
  wake(): void {
    this.#isWoken = true;
    if (this.#timer === undefined || this.#isRunning) return;
    this.#timer[Symbol.dispose]();
    this.start();
  }

  /** Resolves when the run in progress has ended; no run begins afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
    await this.#running;
  }

  #run(): void {
    this.#isRunning = true;
    this.#isWoken = false;
    this.#running = this.#action().then(
      (nextMs) => this.#again(nextMs),
      (error: unknown) => {
        this.#onError(error);
        this.#again(this.#retryMs);
      },
    );
  }

  #again(nextMs: number): void {
    this.#isRunning = false;
    this.start(nextMs);
  }
}

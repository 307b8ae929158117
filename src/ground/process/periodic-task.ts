/**
 * Runs an action again and again, never twice at once. The action resolves to the number of milliseconds to
 * wait before the next run. An error goes to `onError`, which must not throw; the action then runs again
 * after `retryMs`.
 */
export class PeriodicTask {
  readonly #action: () => Promise<number>;
  readonly #onError: (error: unknown) => void;
  readonly #retryMs: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(action: () => Promise<number>, onError: (error: unknown) => void, retryMs: number) {
    this.#action = action;
    this.#onError = onError;
    this.#retryMs = retryMs;
  }

  /** Schedules the first run. Call it once; after `stop` it does nothing. */
  start(firstMs = 0): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#action().then(
        (nextMs) => this.start(nextMs),
        (error: unknown) => {
          this.#onError(error);
          this.start(this.#retryMs);
        },
      );
    }, firstMs);
  }

  /** Resolves when the run in progress has ended; no run begins afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }
}

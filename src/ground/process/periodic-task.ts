/**
 * Does one thing again and again, never twice at once: `once` answers how many ms to wait before the next time. What it throws goes
 * to `failed`, which must not throw, and is tried again after `afterFailureMs`.
 */
export class PeriodicTask {
  readonly #once: () => Promise<number>;
  readonly #failed: (error: unknown) => void;
  readonly #afterFailureMs: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(once: () => Promise<number>, failed: (error: unknown) => void, afterFailureMs: number) {
    this.#once = once;
    this.#failed = failed;
    this.#afterFailureMs = afterFailureMs;
  }

  start(firstMs = 0): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#once().then(
        (nextMs) => this.start(nextMs),
        (error: unknown) => {
          this.#failed(error);
          this.start(this.#afterFailureMs);
        },
      );
    }, firstMs);
  }

  /** Resolves when what runs has ended; nothing begins after it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }
}

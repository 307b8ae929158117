import type { Clock } from '../../src/ground/clock/clock.ts';

/** A clock that goes so many times as fast as the machine's, from now on: an hour of waiting is a minute. */
export class FastClock implements Clock {
  readonly #speed: number;
  readonly #bornMs = Date.now();
  readonly #bornSteadyMs = performance.now();

  constructor(speed: number) {
    this.#speed = speed;
  }

  nowMs(): number {
    return Math.floor(this.#bornMs + this.steadyMs());
  }

  /** Since it was made. */
  steadyMs(): number {
    return (performance.now() - this.#bornSteadyMs) * this.#speed;
  }

  after(ms: number, call: () => void): Disposable {
    const timer = setTimeout(call, ms / this.#speed);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }
}

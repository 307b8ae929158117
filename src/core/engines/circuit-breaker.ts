import { growingPause } from '../../ground/process/growing-pause.ts';

/** So many jobs in a row must fail by their engine, before it gets no more of them. */
export const MOST_FAILURES = 5;

/**
 * Whether the engine of a model is given jobs. Once some have failed in a row it is given none, and a
 * question of the worker's own, put at once and then again and again, says whether it was the engine: jobs
 * that fail by themselves cost others their engine for a moment only, and no job is spent on finding out.
 *
 *     closed ── failures in a row ──▶ open ── a question or a job is answered ──▶ closed
 *                                     ▲  │
 *                       after a pause └──┘ none is answered
 */
export class CircuitBreaker {
  #isOpen = false;
  #failures = 0;
  /** Questions in a row that were not answered. */
  #refusals = 0;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** A job failed by its engine. Returns whether the circuit opens by that. */
  failed(): boolean {
    this.#failures += 1;
    if (this.#isOpen || this.#failures < MOST_FAILURES) return false;
    this.#isOpen = true;
    return true;
  }

  /** The engine has answered, a job or the question. Returns whether the circuit closes by that. */
  answered(): boolean {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    this.#failures = 0;
    this.#refusals = 0;
    return wasOpen;
  }

  /** The question was not answered. Returns after what pause (ms) it is put again. */
  refused(): number {
    this.#refusals += 1;
    return growingPause(this.#refusals);
  }
}

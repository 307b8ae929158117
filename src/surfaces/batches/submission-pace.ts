/** Lines of one batch that are submitted at once. */
export const MAX_SUBMITTED_AT_ONCE = 32;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A limit that names a longer time is asked again after this. */
const LONGEST_ASKED_MS = 60_000;

/**
 * How fast a batch submits its lines. After a refusal it rests for as long as the refusal says, or twice as
 * long each time, then tries a single line, and with each that is accepted one more at once. So a batch that
 * waits costs one try in a while, whatever the number of its lines.
 */
export class SubmissionPace {
  #atOnce = MAX_SUBMITTED_AT_ONCE;
  #restUntilMs = -Infinity;
  #refusals = 0;

  /**
   * How long to wait (ms) before one more is submitted beside `active`; Infinity: until one of those returns.
   */
  waitMs(active: number, nowMs: number): number {
    if (active >= this.#atOnce) return Infinity;
    return Math.max(0, this.#restUntilMs - nowMs);
  }

  accepted(): void {
    this.#refusals = 0;
    this.#atOnce = Math.min(MAX_SUBMITTED_AT_ONCE, this.#atOnce + 1);
  }

  /** One of the batch's own jobs has ended, which may be what the refusal waited for: it is tried now. */
  freed(nowMs: number): void {
    this.#restUntilMs = Math.min(this.#restUntilMs, nowMs);
  }

  /** A line was refused for now; `askedMs` is the wait that the refusal names, if it names one. */
  refused(nowMs: number, askedMs: number | undefined): void {
    // Those that were under way together were refused by one cause.
    if (nowMs >= this.#restUntilMs) this.#refusals += 1;
    this.#atOnce = 1;
    const own = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#refusals - 1, 16));
    const pauseMs = askedMs === undefined ? own : Math.min(LONGEST_ASKED_MS, Math.max(askedMs, 1));
    this.#restUntilMs = Math.max(this.#restUntilMs, nowMs + pauseMs);
  }
}

import { Unverified } from './unverified.ts';

/** The clocks of the proxy and of the service may differ by this much, where nothing else is said. */
const CLOCK_GRACE_MS = 60_000;
/** For so long a request under an Idempotency-Key is answered with its first job. */
const IDEMPOTENCY_MS = 86_400_000;
const MAX_JOBS = 100_000;

/** One request to the proxy, as far as it matters which jobs may answer it. */
export interface Asking {
  readonly sentMs: number;
  /** Equal for two requests that one job may answer: the same request under the same Idempotency-Key. */
  readonly identity: string;
  readonly isKeyed: boolean;
}

interface Passed {
  readonly identity: string;
  readonly createdMs: number;
}

/**
 * Which jobs have answered which requests. A receipt that holds is no answer to whoever asks the same again
 * later: a job must be made after its request was sent, and answers one request alone. A request under an
 * Idempotency-Key may be answered by a job of the last day, and always by the same. What is forgotten,
 * because many jobs have passed since, is refused and never taken twice.
 */
export class PassedJobs {
  readonly #passed = new Map<string, Passed>();
  readonly #most: number;
  readonly #graceMs: number;
  /** Jobs that were made up to this time may have been forgotten. */
  #forgottenMs = -Infinity;

  constructor({ most = MAX_JOBS, graceMs = CLOCK_GRACE_MS }: { most?: number; graceMs?: number } = {}) {
    this.#most = most;
    this.#graceMs = graceMs;
  }

  /**
   * Notes that a job, made at this time by its ticket (ms since 1970), answers a request. Throws Unverified
   * `not_fresh` where it cannot be its answer.
   */
  pass(job: string, createdMs: number, { sentMs, identity, isKeyed }: Asking, nowMs: number): void {
    const before = this.#passed.get(job);
    if (before !== undefined && before.identity !== identity)
      throw new Unverified('not_fresh', `The job ${job} has answered another request already.`);
    if (createdMs > nowMs + this.#graceMs)
      throw new Unverified('not_fresh', `The job ${job} is dated ${seconds(createdMs - nowMs)} s from now.`, CLOCKS);
    if (before !== undefined) return;
    const sinceMs = sentMs - this.#graceMs - (isKeyed ? IDEMPOTENCY_MS : 0);
    if (createdMs < sinceMs || createdMs <= this.#forgottenMs)
      throw new Unverified(
        'not_fresh',
        `The job ${job} was made ${seconds(sentMs - createdMs)} s before the request was sent.`,
        CLOCKS,
      );
    this.#passed.set(job, { identity, createdMs });
    if (this.#passed.size > this.#most) this.#forgetOldest();
  }

  #forgetOldest(): void {
    for (const [job, { createdMs }] of this.#passed) {
      this.#passed.delete(job);
      this.#forgottenMs = Math.max(this.#forgottenMs, createdMs);
      return;
    }
  }
}

const CLOCKS = { hint: 'the clock of this machine may be wrong; --clock-skew says how much may be between the two' };
const seconds = (ms: number) => Math.round(ms / 1_000);

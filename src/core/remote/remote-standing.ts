import type { Logger } from '../../ground/logging/logger.ts';
import type { StandingLink, StorageLink } from '../execution/links.ts';

/** Whether this worker may work, as the gateway says with each renewal and each announcement. */
export class RemoteStanding implements StandingLink {
  readonly #logger: Logger;
  #bar: string | undefined;
  #onChange: () => void = () => undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get bar(): string | undefined {
    return this.#bar;
  }

  watch(onChange: () => void): void {
    this.#onChange = onChange;
  }

  /** What the gateway says now. */
  hear(said: string | null): void {
    const bar = said ?? undefined;
    if (bar === this.#bar) return;
    this.#bar = bar;
    if (bar === undefined) this.#logger.info('this worker may work again; it takes jobs');
    else this.#logger.warn({ why: bar }, 'this worker may not work now; it gives back what it holds and takes no job');
    this.#onChange();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

/** The gateway stores what this worker makes, and says so where it cannot. */
export const REMOTE_STORAGE: StorageLink = {
  problem: undefined,
  start: () => undefined,
  wake: () => undefined,
  stop: () => Promise.resolve(),
};

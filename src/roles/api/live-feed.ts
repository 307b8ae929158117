import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { Overviews } from './overview.ts';
import type { VerdictRow, WorkerRow } from './overview.schemas.ts';

const EVERY_MS = 1_000;

/** What every dashboard is sent, as frames of server-sent events. */
interface Frames {
  /** Grows by one with each look. */
  readonly turn: number;
  /** For those who have just come: everything. */
  readonly whole: string;
  /** For those who have seen the look before: what has changed. */
  readonly changed: string;
}

const frame = (event: string, data: unknown): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/**
 * One look a second at the installation for all dashboards of this process, made only while there are any,
 * and written once for all of them. Whoever misses a look is sent everything: nothing is kept for those who
 * are slow.
 */
export class LiveFeed {
  readonly #overviews: Overviews;
  #listeners = 0;
  #isLooking = false;
  #frames: Promise<Frames> | undefined;
  #wake: (frames: Frames) => void = () => undefined;
  #next: Promise<Frames> = Promise.resolve({ turn: 0, whole: '', changed: '' });

  readonly #warn: (error: unknown) => void;

  constructor(overviews: Overviews, logger: Pick<Logger, 'warn'>) {
    this.#overviews = overviews;
    this.#warn = rateLimited(5_000, (error) => logger.warn(`live feed: ${messageOf(error).slice(0, 300)}`));
    this.#expect();
  }

  /** The frames for one dashboard, until the signal is aborted. */
  async *frames(signal: AbortSignal): AsyncGenerator<string> {
    this.#listeners += 1;
    try {
      yield 'retry: 2000\n\n';
      let seen = -1;
      const gone = new Promise<undefined>((resolve) => {
        signal.addEventListener('abort', () => resolve(undefined), { once: true });
      });
      const now = this.#isLooking ? this.#frames : undefined;
      if (!this.#isLooking) void this.#look();
      for (let next = now ?? this.#next; !signal.aborted; next = this.#next) {
        const frames = await Promise.race([next, gone]);
        if (frames === undefined) return;
        yield frames.turn === seen + 1 && seen >= 0 ? frames.changed : frames.whole;
        seen = frames.turn;
      }
    } finally {
      this.#listeners -= 1;
    }
  }

  #expect(): void {
    this.#next = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Looks as long as anybody listens. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    let before = new Map<string, string>();
    let last = String(Date.now() - EVERY_MS);
    let verdicts: VerdictRow[] = [];
    for (let turn = 0; this.#listeners > 0; turn += 1) {
      const began = performance.now();
      try {
        const [{ tick, workers }, news] = await Promise.all([this.#overviews.look(), this.#overviews.verdicts(last)]);
        last = news.last;
        verdicts = [...news.verdicts, ...verdicts].slice(0, 20);
        const now = new Map(workers.map((row) => [row.id, JSON.stringify(row)]));
        const { set, gone } = changesOf(before, now, workers);
        before = now;
        const frames: Frames = {
          turn,
          whole:
            frame('workers', { all: true, set: workers, gone: [] }) + frame('verdicts', verdicts) + frame('tick', tick),
          changed:
            (set.length + gone.length > 0 ? frame('workers', { all: false, set, gone }) : '') +
            (news.verdicts.length > 0 ? frame('verdicts', news.verdicts) : '') +
            frame('tick', tick),
        };
        this.#frames = Promise.resolve(frames);
        const wake = this.#wake;
        this.#expect();
        wake(frames);
      } catch (error) {
        // While Redis is away there is nothing to show, and the dashboards say since when.
        this.#warn(error);
      }
      await sleep(Math.max(0, EVERY_MS - (performance.now() - began)));
    }
    this.#isLooking = false;
    this.#frames = undefined;
  }
}

/** The rows that are new or other than before, and the ids that are gone. */
function changesOf(
  before: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
  workers: readonly WorkerRow[],
): { set: WorkerRow[]; gone: string[] } {
  return {
    set: workers.filter(({ id }) => before.get(id) !== now.get(id)),
    gone: [...before.keys()].filter((id) => !now.has(id)),
  };
}

import { messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { AuditAct } from './audit-entry.ts';
import type { AuditLog } from './audit-log.ts';

/** Acts that are alike within this time make two entries at most: the first, and how many followed. */
const WINDOW_MS = 600_000;
const LOOK_EVERY_MS = 60_000;
/** Different acts that are told apart within that time; the others are counted together. */
const MAX_KINDS = 500;

type Repeated = Omit<AuditAct, 'detail'>;

interface Counted {
  readonly act: Repeated;
  readonly sinceMs: number;
  more: number;
}

/**
 * Notes what can happen without end, such as refused attempts and uses of the operator's power: the first of
 * each kind at once, and after ten minutes how many more there were. So nobody fills the audit log by
 * knocking. What is counted and not yet written is lost with the process; the first of its kind is not.
 */
export class Attempts {
  readonly #audit: Pick<AuditLog, 'note'>;
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #now: () => number;
  readonly #counted = new Map<string, Counted>();
  readonly #writing = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(audit: Pick<AuditLog, 'note'>, logger: Pick<Logger, 'warn'>, now: () => number = Date.now) {
    this.#audit = audit;
    this.#logger = logger;
    this.#now = now;
  }

  /** From here on, what was counted is written also when nothing more comes. */
  start(): void {
    this.#timer = setInterval(() => this.flush(), LOOK_EVERY_MS).unref();
  }

  /** Writes what was counted; resolves when it is written, or could not be. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.flush(true);
    await Promise.all(this.#writing);
  }

  /** Notes or counts an act. Never throws: the answer to the caller does not wait for it. */
  note(act: Repeated): void {
    this.flush();
    const name = JSON.stringify(act);
    const known = this.#counted.get(name);
    if (known !== undefined) {
      known.more += 1;
      return;
    }
    if (this.#counted.size >= MAX_KINDS) {
      const { action } = act;
      const rest: Repeated = { by: 'several', action, target: 'several', tenant: null };
      const others = this.#counted.get(JSON.stringify(rest)) ?? { act: rest, sinceMs: this.#now(), more: 0 };
      others.more += 1;
      this.#counted.set(JSON.stringify(rest), others);
      return;
    }
    this.#counted.set(name, { act, sinceMs: this.#now(), more: 0 });
    this.#write({ ...act, detail: {} });
  }

  /** Writes what was counted for ten minutes, or with `all` whatever was counted. */
  flush(all = false): void {
    for (const [name, { act, sinceMs, more }] of this.#counted) {
      // In the order of insertion, which is that of their times.
      if (!all && this.#now() - sinceMs < WINDOW_MS) return;
      this.#counted.delete(name);
      if (more > 0) this.#write({ ...act, detail: { more, since: new Date(sinceMs).toISOString() } });
    }
  }

  #write(act: AuditAct): void {
    const written = this.#audit
      .note(act)
      .catch((error: unknown) => {
        this.#logger.warn(`an attempt could not be noted in the audit log: ${messageOf(error).slice(0, 200)}`);
      })
      .finally(() => this.#writing.delete(written));
    this.#writing.add(written);
  }
}

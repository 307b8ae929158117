import type { Redis } from 'ioredis';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { CLOSED_PERIOD_TYPE, type ClosedPeriod } from '../../proof/contract/closed-period.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import type { ClosedPeriods } from './closed-periods.store.ts';
import { ledgerText, type Format } from './ledger-lines.ts';
import type { UsageStore } from './usage.store.ts';

const LOOK_EVERY_MS = 3_600_000;
/** A month stays open for a day longer, whatever Redis' clock does when another server takes over. */
const GRACE_MS = 86_400_000;
/** Ten million entries in JSON are about 2 GB. */
const MAX_EXPORT_BYTES = 64 * 1_073_741_824;

interface CloserParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly usage: UsageStore;
  readonly closed: ClosedPeriods;
  readonly exports: BlobStore;
  /** Signs tickets, and what a closed month came to. */
  readonly signingKey: SigningKey;
  /** Redis' time, ms; by default what Redis says. */
  readonly nowMs?: () => Promise<number>;
}

/**
 * Closes the months of ledgers that are over: exports them, signs what they came to, and asks for the
 * statement to be logged. The attestor takes the entries out of Redis when it stands in the log. Nothing is
 * entered in such a month any more: the places of ends only grow. What a crash leaves: files that are written
 * again, a closed month whose logging is asked for again.
 */
export class LedgerCloser {
  readonly #parts: CloserParts;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;

  constructor(parts: CloserParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    const warn = rateLimited(5_000, (error) => logger.warn(`ledger: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(
      async () => {
        await this.closeAll();
        return LOOK_EVERY_MS;
      },
      warn,
      LOOK_EVERY_MS / 60,
    );
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Closes what is over. One ledger that cannot be closed keeps no other open. */
  async closeAll(): Promise<void> {
    const { redis, keys } = this.#parts;
    const nowMs = await this.#nowMs();
    for (const member of await redis.smembers(keys.ledgers)) {
      const [tenant = '', month = ''] = member.split(' ');
      if (!(await this.#isOver(month, nowMs))) continue;
      await this.#close(tenant, month).catch((error: unknown) => {
        this.#logger.error({ tenant, month }, `a ledger cannot be closed: ${messageOf(error).slice(0, 300)}`);
      });
    }
  }

  async #nowMs(): Promise<number> {
    if (this.#parts.nowMs !== undefined) return this.#parts.nowMs();
    const [seconds] = await this.#parts.redis.time();
    return Number(seconds) * 1_000;
  }

  /** Whether nothing can be entered in a month any more. */
  async #isOver(month: string, nowMs: number): Promise<boolean> {
    const { redis, keys } = this.#parts;
    const [year = 0, number = 0] = month.split('-').map(Number);
    const endMs = Date.UTC(year, number, 1);
    if (nowMs < endMs + GRACE_MS) return false;
    const cursor = (await redis.hget(keys.jobEnds, 'cursor')) ?? '0';
    return (await redis.zcount(keys.ended, `(${cursor}`, `(${endMs}`)) === 0;
  }

  async #close(tenant: string, month: string): Promise<void> {
    const { redis, keys, closed, signingKey } = this.#parts;
    let found = (await closed.find(tenant, month)) ?? (await closed.recorded(tenant, month));
    if (found === undefined) {
      const period = await this.#exported(tenant, month);
      const payload = Buffer.from(JSON.stringify(period));
      found = await closed.close(period, signPayload(signingKey, payload, CLOSED_PERIOD_TYPE));
      this.#logger.info({ tenant, month, entries: period.entries }, 'a month of a ledger was closed');
    }
    await redis.hsetnx(keys.logRequests, `ledger ${tenant} ${month}`, encodeStored(found.signed));
  }

  async #exported(tenant: string, month: string): Promise<ClosedPeriod> {
    const { usage } = this.#parts;
    const sums = new Map<string, number>();
    let entries = 0;
    for await (const page of usage.ledger(tenant, month)) {
      entries += page.length;
      for (const { entry } of page) sums.set(entry.currency, (sums.get(entry.currency) ?? 0) + entry.amount);
    }
    const [jsonl, csv] = [await this.#file(tenant, month, 'jsonl'), await this.#file(tenant, month, 'csv')];
    return {
      tenant,
      month,
      entries,
      sums: [...sums].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([currency, charged]) => ({ currency, charged })),
      jsonl,
      csv,
    };
  }

  #file(tenant: string, month: string, format: Format): Promise<{ sha256: string; bytes: number }> {
    const { usage, exports } = this.#parts;
    return exports.putStream(ledgerText(usage.ledger(tenant, month), format), MAX_EXPORT_BYTES);
  }
}

import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { CLOSED_PERIOD_TYPE, ClosedPeriod } from '../../proof/contract/closed-period.ts';
import { decodeStored, verifyPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';

const LOOK_EVERY_MS = 1_000;
const PAGE = 500;
const MAX_STATEMENT_BYTES = 65_536;

interface LogRequestParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly keyring: Keyring;
  /** Gives a document its place in the log, once; resolves to the place. */
  readonly record: (keyId: string, payload: Buffer) => Promise<number>;
}

/**
 * Logs the statements that other trusted roles ask for: what a closed month of a ledger came to. When one
 * stands in the published log, its entries leave Redis, where they are what it says. Any number of attestors
 * may do this at once. A request that is wrong is said to be so and dropped; it changes nothing.
 */
export class LogRequests {
  readonly #parts: LogRequestParts;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;

  constructor(parts: LogRequestParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    const warn = (error: unknown) => logger.warn(`requests to log: ${messageOf(error).slice(0, 300)}`);
    this.#looks = new PeriodicTask(
      async () => {
        await this.look();
        return LOOK_EVERY_MS;
      },
      warn,
      LOOK_EVERY_MS * 5,
    );
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Takes each request one step on. */
  async look(): Promise<void> {
    const { redis, keys } = this.#parts;
    const requests = await redis.hgetallBuffer(keys.logRequests);
    for (const [name, stored] of Object.entries(requests)) {
      const refused = await this.#take(stored);
      if (refused === undefined) continue;
      if (refused !== '') this.#logger.error({ request: name }, `this is not logged: ${refused}`);
      await redis.hdel(keys.logRequests, name);
    }
  }

  /** Undefined while the statement waits to be published, empty when it is dealt with, else what is wrong. */
  async #take(stored: Buffer): Promise<string | undefined> {
    const { redis, keys, keyring, record } = this.#parts;
    const signed = stored.length <= MAX_STATEMENT_BYTES ? decodeStored(stored) : undefined;
    if (signed === undefined) return 'it is no signed statement.';
    const key = keyring.find('api', signed.keyId, Date.now());
    if ('refused' in key || !verifyPayload(key, signed, CLOSED_PERIOD_TYPE)) return 'no trusted key signed it.';
    const parsed = ClosedPeriod.safeParse(jsonOf(signed.payload));
    if (!parsed.success) return 'it is not about a closed period.';
    const { tenant, month } = parsed.data;
    if (!(await this.#isTrue(parsed.data))) return `the ledger of ${tenant} in ${month} says something else.`;
    const index = await record(signed.keyId, signed.payload);
    if (index >= Number((await redis.hget(keys.log, 'size')) ?? 0)) return undefined;
    await redis.unlink(keys.ledger(tenant, month));
    await redis.srem(keys.ledgers, `${tenant} ${month}`);
    return '';
  }

  /** Whether the entries in Redis come to what is said of them; or they are gone, after an earlier look. */
  async #isTrue({ tenant, month, entries, sums }: ClosedPeriod): Promise<boolean> {
    const { redis, keys } = this.#parts;
    const found = new Map<string, number>();
    let [count, cursor] = [0, '0'];
    do {
      const [next, cells] = await redis.hscan(keys.ledger(tenant, month), cursor, 'COUNT', PAGE);
      cursor = next;
      for (let at = 1; at < cells.length; at += 2) {
        const { currency, amount } = jsonOf(Buffer.from(cells[at] ?? '')) as { currency: string; amount: number };
        found.set(currency, (found.get(currency) ?? 0) + amount);
        count += 1;
      }
    } while (cursor !== '0');
    if (count === 0) return true;
    return (
      count === entries && found.size === sums.length && sums.every((sum) => found.get(sum.currency) === sum.charged)
    );
  }
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return {};
  }
}

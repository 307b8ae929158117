import { isOver } from './batch.store.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { BatchRun, type BatchParts } from './batch-run.ts';
import { fairestIndex } from './fairest.ts';

const MAX_BATCHES_AT_ONCE = 4;
const LOOK_EVERY_MS = 250;
const LEASE_MS = 4_000;
const RENEW_EVERY_MS = 1_000;
/** Open batches looked at in one round. */
const MAX_CANDIDATES = 200;
const CLEAN_EVERY_MS = 3_600_000;
/** A blob of a running batch is at most a day old. This leaves room for an outage of the courier. */
const BLOB_AGE_MS = 3 * 86_400_000;

/**
 * Runs batches: a few at once, first those of the tenant that has the fewest running. A lease keeps two
 * couriers from doing the same work. Results do not depend on it: two couriers that run one batch write the
 * same.
 */
export class BatchRunner {
  readonly #parts: BatchParts;
  readonly #logger: Logger;
  readonly #owner = freshRandom(12).toString('hex');
  readonly #gone = new AbortController();
  readonly #running = new Map<string, { tenant: string; work: Promise<void> }>();
  readonly #warn: (error: unknown) => void;
  readonly #looks: PeriodicTask;
  #lastClean = -Infinity;

  constructor(parts: BatchParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    this.#warn = rateLimited(5_000, (error) => logger.warn(`batches: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS);
  }

  /** Begins to look for batches that wait. */
  start(): void {
    this.#looks.start();
  }

  /**
   * Gives up what runs and resolves when it has stopped. Another courier goes on with it, or this one later.
   */
  async stop(): Promise<void> {
    this.#gone.abort();
    await this.#looks.stop();
    await Promise.all([...this.#running.values()].map(({ work }) => work));
  }

  /** Begins waiting batches while there is room. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const { batches } = this.#parts;
    if (this.#running.size < MAX_BATCHES_AT_ONCE) {
      const waiting = (await batches.open()).filter((id) => !this.#running.has(id));
      const records = (await Promise.all(waiting.slice(0, MAX_CANDIDATES).map((id) => batches.read(id)))).filter(
        (record) => record !== undefined,
      );
      while (this.#running.size < MAX_BATCHES_AT_ONCE && records.length > 0) {
        const running = [...this.#running.values()].map(({ tenant }) => tenant);
        const [record] = records.splice(fairestIndex(records, running), 1);
        if (record !== undefined && !isOver(record.status)) await this.#begin(record.id, record.tenant);
      }
    }
    await this.#clean();
    return LOOK_EVERY_MS;
  }

  async #begin(id: string, tenant: string): Promise<void> {
    const { redis, keys } = this.#parts;
    if ((await redis.set(keys.batchLease(id), this.#owner, 'PX', LEASE_MS, 'NX')) !== 'OK') return;
    const lost = new AbortController();
    let renewedMs = performance.now();
    const renewal = setInterval(() => {
      redis.get(keys.batchLease(id)).then(
        async (owner) => {
          if (owner !== this.#owner) lost.abort();
          else if ((await redis.pexpire(keys.batchLease(id), LEASE_MS)) === 1) renewedMs = performance.now();
        },
        () => undefined,
      );
      if (performance.now() - renewedMs > LEASE_MS) lost.abort();
    }, RENEW_EVERY_MS);
    const work = this.#run(id, AbortSignal.any([this.#gone.signal, lost.signal]))
      .catch(this.#warn)
      .finally(async () => {
        clearInterval(renewal);
        if (!lost.signal.aborted) await redis.unlink(keys.batchLease(id)).catch(() => undefined);
        this.#running.delete(id);
      });
    this.#running.set(id, { tenant, work });
  }

  async #run(id: string, gone: AbortSignal): Promise<void> {
    const record = await this.#parts.batches.read(id);
    if (record === undefined || isOver(record.status)) return;
    await new BatchRun(this.#parts, this.#logger, record, gone).run();
  }

  async #clean(): Promise<void> {
    if (performance.now() - this.#lastClean < CLEAN_EVERY_MS) return;
    this.#lastClean = performance.now();
    const { batches, files } = this.#parts;
    const open = await Promise.all((await batches.open()).map((id) => batches.read(id)));
    await files.clean(
      BLOB_AGE_MS,
      open.flatMap((batch) => (batch === undefined ? [] : [batch.inputSha256])),
    );
  }
}

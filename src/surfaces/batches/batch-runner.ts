import { isOver } from './batch.store.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { BatchRun, type BatchParts } from './batch-run.ts';

const BATCHES_AT_ONCE = 4;
const LOOK_EVERY_MS = 250;
const LEASE_MS = 4_000;
const RENEW_EVERY_MS = 1_000;
const CLEAN_EVERY_MS = 3_600_000;
/** A blob of a batch that runs is at most a day old; this leaves room for a courier that was away. */
const BLOB_AGE_MS = 3 * 86_400_000;

/**
 * Runs batches, a few at once and no tenant's more than another's. A lease keeps two couriers from doing the
 * same work; it is not what keeps the results right, since whatever two of them do is the same.
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

  start(): void {
    this.#looks.start();
  }

  /** What runs is given up where it is; another courier, or this one later, goes on with it. */
  async stop(): Promise<void> {
    this.#gone.abort();
    await this.#looks.stop();
    await Promise.all([...this.#running.values()].map(({ work }) => work));
  }

  /** When to look again, ms. */
  async #look(): Promise<number> {
    const { batches } = this.#parts;
    if (this.#running.size < BATCHES_AT_ONCE) {
      const waiting = (await batches.open()).filter((id) => !this.#running.has(id));
      const records = (await Promise.all(waiting.slice(0, 200).map((id) => batches.read(id)))).filter(
        (record) => record !== undefined,
      );
      const runningOf = (tenant: string) => [...this.#running.values()].filter((one) => one.tenant === tenant).length;
      while (this.#running.size < BATCHES_AT_ONCE && records.length > 0) {
        const fewest = Math.min(...records.map(({ tenant }) => runningOf(tenant)));
        const at = records.findIndex(({ tenant }) => runningOf(tenant) === fewest);
        const [record] = records.splice(at, 1);
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
    let heardMs = performance.now();
    const renewal = setInterval(() => {
      redis.get(keys.batchLease(id)).then(
        async (owner) => {
          if (owner !== this.#owner) lost.abort();
          else if ((await redis.pexpire(keys.batchLease(id), LEASE_MS)) === 1) heardMs = performance.now();
        },
        () => undefined,
      );
      if (performance.now() - heardMs > LEASE_MS) lost.abort();
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

import type { Redis } from 'ioredis';
import { UNSTORED_MS } from '../../core/jobs/erased-record.ts';
import type { JobReader, JobView } from '../../core/jobs/job.reader.ts';
import type { ConfirmedOutput, Jobs } from '../../core/jobs/jobs.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { poolOfQueue, type RedisKeys } from '../../ground/redis/keys.ts';
import { takeDue } from '../../ground/redis/take-due.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { eraseAt, eraseNow } from '../erasure/erasure-wishes.ts';
import { answerDrafts, firstIdOf } from './answer-drafts.ts';
import type { MemoryClient } from './memory-client.ts';
import { memoryWorkOf, type MemoryWork } from './memory-work.ts';

const LOOK_EVERY_MS = 250;
/** Who takes a job looks at it again after this time, unless it was dealt with. */
const TAKEN_MS = 10_000;
const JOBS_AT_ONCE = 16;

/** What taking answers into the memory needs. */
export interface KeeperParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly reader: JobReader;
  readonly jobs: Jobs;
  readonly memory: MemoryClient;
  readonly blobs: BlobFolders;
}

type Remembered = Exclude<MemoryWork, { kind: 'shown' }>;

/**
 * Takes what jobs have answered into the memories of owners, once it is confirmed. The end of such a job
 * stands in `memorywork`, written with the end itself. Each step can be done twice: a crash leaves the job in
 * the list, and whoever goes on does them all again.
 *
 *   1. The memory keeps the receipt and the memories, under ids that follow from the job.
 *   2. What was extracted has its text in the memory now, under the owner's key: the job is erased. Others
 *      are erased an hour after their ends: those that were shown memories, and extractions that got no
 *      answer, which can be asked again until then. The memory notes them, and the questions of the first go
 *      now.
 *   3. The job leaves the list.
 */
export class MemoryKeeper {
  readonly #parts: KeeperParts;
  readonly #looks: PeriodicTask;
  readonly #warn: (error: unknown) => void;

  constructor(parts: KeeperParts, logger: Logger) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error) =>
      logger.warn(`taking answers into the memory: ${messageOf(error).slice(0, 300)}; it is tried again`),
    );
    this.#looks = new PeriodicTask(() => this.look(), this.#warn, LOOK_EVERY_MS * 4);
  }

  start(): void {
    this.#looks.start();
  }

  /** Resolves when the look in progress has ended. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Deals with every job in the list that is due, each by itself. Returns when to look again, in ms. */
  async look(): Promise<number> {
    const { redis, keys } = this.#parts;
    const due = await takeDue(redis, keys.memoryWork, TAKEN_MS, JOBS_AT_ONCE);
    await Promise.all(due.map((id) => this.#take(id).catch(this.#warn)));
    return due.length === JOBS_AT_ONCE ? 0 : LOOK_EVERY_MS;
  }

  async #take(id: string): Promise<void> {
    const { redis, keys, reader } = this.#parts;
    const view = await reader.read(id);
    // Of one that was erased, or is forgotten, nothing is left to remember.
    const work = memoryWorkOf(view?.surface);
    if (view !== undefined && work !== undefined) {
      const isDone = view.state === 'done';
      const made = isDone && work.kind !== 'shown' ? await this.#remember(view, work) : [];
      crashPoint('courier.after-memories');
      if (isDone && work.kind === 'extract') await eraseNow(redis, keys, [id]);
      else await this.#hold(view, work, made);
    }
    await redis.zrem(keys.memoryWork, id);
  }

  /** The ids of what is remembered. */
  async #remember({ id, tenant, model }: JobView, work: Remembered): Promise<readonly string[]> {
    const { jobs, memory } = this.#parts;
    const [output, receipt] = await Promise.all([jobs.output(tenant, id), jobs.receipt(tenant, id)]).catch(gone);
    if (output === undefined || receipt === undefined) return [];
    const answer = answerDrafts(work, { id, model, output: output.bytes, first: firstIdOf(id) });
    const { place, sources } = work;
    const taken = await memory.call('takeIn', { tenant, place, job: id, sources, receipt, ...answer });
    return taken?.memories ?? [];
  }

  /**
   * A job that is kept for an hour more holds memories, or what was to become some: whoever erases those
   * erases it with them. What is not asked again goes now.
   */
  async #hold(view: JobView, work: MemoryWork, made: readonly string[]): Promise<void> {
    const { redis, keys, memory, blobs } = this.#parts;
    const { id, tenant, ticket, ending, queue } = view;
    if (ticket === undefined || ending === undefined) return;
    const shown = readTicket(id, ticket).ticket.predicate.memories ?? [];
    const memories = [...new Set([...shown.map((one) => one.id), ...made])];
    const until_ms = ending.atMs + UNSTORED_MS;
    const { gone: isGone } = await memory.call('noteHolder', {
      tenant,
      place: work.place,
      job: id,
      memories,
      until_ms,
    });
    if (isGone) await eraseNow(redis, keys, [id]);
    else await eraseAt(redis, keys, id, until_ms);
    if (work.kind !== 'extract') await blobs.ofPool(poolOfQueue(queue)).of(id).remove();
  }
}

/** Somebody erased the job while it was read. */
function gone(error: unknown): [ConfirmedOutput | undefined, string | undefined] {
  if (error instanceof CodedError && (error.code === 'erased' || error.code === 'job_not_found'))
    return [undefined, undefined];
  throw error;
}

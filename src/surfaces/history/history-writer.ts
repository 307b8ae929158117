import type { Redis } from 'ioredis';
import { erasedOf, openAny } from '../../core/jobs/erased-record.ts';
import type { Archived, JobArchive } from '../../core/jobs/job-archive.ts';
import { JobReader, viewOf, type JobView } from '../../core/jobs/job.reader.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import type { EndedJob, HistoryState } from '../memory/history-calls.ts';
import type { MemoryClient } from '../memory/memory-client.ts';
import { endedJobOf } from './ended-job.ts';

const LOOK_EVERY_MS = 500;
const PAGE = 200;
/** A memory that sleeps is woken after this: Redis still has what ended since. */
const SLEEP_MS = 3_600_000;
/** Ends are entered in the order of the log, but for those that two attestors seal at once. */
const OUT_OF_ORDER = 1_024;

/** Where the history is. */
export interface HistoryPlace {
  /** `nothing`: there is none to be written from here; `asleep`: only `wake` reaches it. */
  history(): 'nothing' | 'asleep' | MemoryClient;
  wake(): MemoryClient;
}

interface WriterParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly archive: JobArchive;
  readonly memory: HistoryPlace;
}

/**
 * Enters the ends of jobs in the history, in the order in which jobs ended. How far it is stands in the
 * history itself and moves with what is entered: a crash anywhere leaves a page entered or not yet. Two
 * writers at once do the same work, and the slower one is refused.
 *
 * What Redis lists no longer comes from the archive, in the order of the log: when this begins, since nobody
 * knows what was missed before, and when Redis forgets a job first.
 */
export class HistoryWriter {
  readonly #parts: WriterParts;
  readonly #reader: JobReader;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;
  #state: HistoryState | undefined;
  /** The entries of the log below this one are read from the archive; undefined where it is not known yet. */
  #archivedTo: number | undefined;
  #writtenMs = 0;

  constructor(parts: WriterParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    this.#reader = new JobReader(parts.redis, parts.keys, parts.keys.open);
    const warn = rateLimited(5_000, (error) =>
      logger.warn(`history: ${messageOf(error).slice(0, 300)}; it is tried again`),
    );
    this.#looks = new PeriodicTask(
      () => this.#look(),
      (error) => {
        // Another database may answer next.
        this.#state = undefined;
        warn(error);
      },
      LOOK_EVERY_MS * 4,
    );
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Enters what there is. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const { redis, keys, memory } = this.#parts;
    const place = memory.history();
    if (place === 'nothing') {
      // When a history begins, these jobs are erased already, or their wish for it stands.
      await redis.zremrangebyrank(keys.historyErasures, 0, -1);
      return LOOK_EVERY_MS;
    }
    if (place === 'asleep') {
      this.#state = undefined;
      if (!(await this.#isDue())) return LOOK_EVERY_MS;
    }
    const client = place === 'asleep' ? memory.wake() : place;
    const isFull = await this.#step(client);
    this.#writtenMs = Date.now();
    return isFull ? 0 : LOOK_EVERY_MS;
  }

  /** Whether a memory that sleeps has to be woken. */
  async #isDue(): Promise<boolean> {
    const { redis, keys } = this.#parts;
    if ((await redis.zcard(keys.historyErasures)) > 0) return true;
    if (Date.now() - this.#writtenMs < SLEEP_MS) return false;
    const entered = (await redis.hget(keys.jobEnds, 'history')) ?? '0';
    return (await redis.zcount(keys.ended, `(${entered}`, '+inf')) > 0;
  }

  /** Does a page of everything that there is to do. Returns whether there may be more. */
  async #step(client: MemoryClient): Promise<boolean> {
    const { archive } = this.#parts;
    const state = (this.#state ??= await client.call('historyState', {}));
    if (this.#archivedTo === undefined) {
      const checkpoint = await archive.newestCheckpoint();
      this.#archivedTo = checkpoint === undefined ? 0 : parseCheckpoint(checkpoint).size;
    }
    const erased = await this.#eraseWished(client);
    const ended = await this.#enterEnds(client, state);
    const archived = ended ? true : await this.#enterArchived(client, this.#state);
    return erased || ended || archived;
  }

  async #eraseWished(client: MemoryClient): Promise<boolean> {
    const { redis, keys } = this.#parts;
    const ids = await redis.zrange(keys.historyErasures, '0', String(PAGE - 1));
    if (ids.length === 0) return false;
    await client.call('eraseEnded', { ids });
    crashPoint('courier.after-erase-history');
    await redis.zrem(keys.historyErasures, ...ids);
    return ids.length === PAGE;
  }

  /** Enters the next ends that Redis lists. */
  async #enterEnds(client: MemoryClient, from: HistoryState): Promise<boolean> {
    const { redis, keys } = this.#parts;
    const rows = await redis.zrangebyscore(keys.ended, `(${from.entered}`, '+inf', 'WITHSCORES', 'LIMIT', 0, PAGE);
    if (rows.length === 0) return false;
    const ids = rows.filter((_, at) => at % 2 === 0);
    const views = await Promise.all(ids.map((id) => this.#reader.read(id)));
    // Its record has gone before it was read here; where it was done, the archive has it.
    if (views.includes(undefined)) this.#archivedTo = undefined;
    const isCaughtUp = this.#archivedTo !== undefined && from.archived >= this.#archivedTo;
    const newest = Math.max(0, ...views.map((view) => (view?.record ?? view?.erased)?.index ?? 0));
    const archived = isCaughtUp ? Math.max(from.archived, newest - OUT_OF_ORDER) : from.archived;
    const jobs = views.flatMap((view) => (view === undefined ? [] : this.#rowsOf(view.id, () => view)));
    await this.#note(client, jobs, from, { entered: Number(rows.at(-1)), archived });
    return ids.length === PAGE;
  }

  /** Enters a tile of the archive. */
  async #enterArchived(client: MemoryClient, from: HistoryState): Promise<boolean> {
    const { archive } = this.#parts;
    const end = this.#archivedTo ?? 0;
    if (from.archived >= end) return false;
    const to = Math.min(end, (Math.floor(from.archived / TILE_WIDTH) + 1) * TILE_WIDTH);
    const items: Archived[] = [];
    for await (const item of archive.read(from.archived, to)) items.push(item);
    const views = await this.#asTheyAre(items);
    const jobs = views.flatMap(({ id, view }) => this.#rowsOf(id, view));
    await this.#note(client, jobs, from, { ...from, archived: to });
    if (to === end) this.#logger.info({ entries: end }, 'the history has taken in the archive');
    return true;
  }

  /** What these records show, without what is to be erased of them, or was since they were read. */
  async #asTheyAre(items: readonly Archived[]): Promise<{ id: string; view: () => JobView }[]> {
    const { redis, keys, archive } = this.#parts;
    const jobs = items.flatMap(({ index, job }) => (job === undefined ? [] : [{ index, ...job }]));
    if (jobs.length === 0) return [];
    const wishes = await redis.zmscore(keys.erasures, ...jobs.map(({ id }) => id));
    return Promise.all(
      jobs.map(async ({ id, index, record }, at) => {
        // The wish goes after the mark was made: of the two, one is seen.
        const marked = await archive.erasures.at(id, index);
        const wished = wishes[at];
        const dueMs = typeof wished === 'string' && Number(wished) <= Date.now() ? Number(wished) : undefined;
        const erasedMs = marked ?? dueMs;
        return {
          id,
          view: () => {
            const opened = openAny(record);
            return viewOf('erasedMs' in opened || erasedMs === undefined ? opened : erasedOf(opened, erasedMs));
          },
        };
      }),
    );
  }

  /** One job that cannot be read holds up no other. */
  #rowsOf(id: string, view: () => JobView): EndedJob[] {
    try {
      return [endedJobOf(view())].flatMap((row) => row ?? []);
    } catch (error) {
      this.#logger.error({ job: id }, `the end of a job is not in the history: ${messageOf(error).slice(0, 300)}`);
      return [];
    }
  }

  async #note(client: MemoryClient, jobs: EndedJob[], from: HistoryState, to: HistoryState): Promise<void> {
    const { redis, keys } = this.#parts;
    crashPoint('courier.before-note-history');
    this.#state = await client.call('noteEnds', { jobs, from, to });
    crashPoint('courier.after-note-history');
    await redis.hset(keys.jobEnds, 'history', String(this.#state.entered));
  }
}

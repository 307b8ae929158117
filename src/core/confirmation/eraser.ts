import type { Redis } from 'ioredis';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { poolOfQueue, poolTag, type RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import { erased, openAny } from '../jobs/erased-record.ts';
import type { Erasure } from '../jobs/erasure-marks.ts';
import type { JobArchive } from '../jobs/job-archive.ts';
import { recordHead } from '../jobs/job-record.ts';
import { JobReader } from '../jobs/job.reader.ts';

const ERASE = loadScript(new URL('./lua/erase.lua', import.meta.url), integer);
const RECALL = loadScript(new URL('./lua/recall-erasures.lua', import.meta.url), integer);

const LOOK_EVERY_MS = 500;
const PAGE = 100;
/** Marks that are compared with Redis at once. */
const RECALLED = 500;
/** An erasure that cannot be carried out now is tried again after this, and holds up no other meanwhile. */
const AGAIN_MS = 5_000;
const MAX_ASIDE = 1_000;
/** A job is open for a day at most; clocks and the time to confirm are within the other. */
const OPEN_MS = 172_800_000;
/** What was erased longer ago is not looked through again. */
const RECENT_MS = 172_800_000;

interface EraserParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly archive: JobArchive;
  readonly blobs: BlobFolders;
  /** The pools of the catalog. */
  readonly pools: readonly string[];
  /** How long Redis keeps a job after its end (ms). */
  readonly keepMs: () => Promise<number>;
  readonly logger: Logger;
}

/** An erasure, with the record as it is stored; undefined where there is none any more. */
type Known = Erasure & { readonly record: Buffer | undefined };

/**
 * Carries erasures out, those that were asked for and those of jobs that were not to be stored. Readers show
 * a job as erased from the moment at which that is due; this removes what it held, in an order in which a
 * crash leaves the wish standing, so that any attestor begins again, and doing a step twice changes nothing:
 *
 *   mark     on the disk; from here on nobody brings it back, whatever Redis loses
 *   archive  the stub in the place of the record
 *   blobs    the folders of the job
 *   Redis    the stub in the place of the record, what else there is of the job, and last the wish
 *
 * When another Redis answers, or the same after a restart, it may be older than the marks: its records are
 * compared with them. Any number of attestors may do all this at once.
 */
export class Eraser {
  readonly #parts: EraserParts;
  readonly #reader: JobReader;
  readonly #looks: PeriodicTask;
  readonly #warn: (error: unknown) => void;
  /** Erasures that could not be carried out, and until when (ms, of the monotonic clock) they wait. */
  readonly #aside = new Map<string, number>();
  /** The Redis whose records were compared with the marks. */
  #compared: string | undefined;

  constructor(parts: EraserParts) {
    this.#parts = parts;
    this.#reader = new JobReader(parts.redis, parts.keys, parts.keys.unsealed);
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `erasure: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /**
   * Removes once more what somebody who was slow has put back since: a worker that handed in an output late,
   * a writer of the archive that died between its file and its look at the marks.
   */
  async tidy(): Promise<void> {
    const { archive } = this.#parts;
    const recentMs = Date.now() - RECENT_MS;
    for await (const tile of archive.erasures.tilesMarkedAfter(recentMs)) await archive.erase(tile);
    for await (const { id } of archive.erasures.createdAfter(recentMs)) await this.#removeBlobs(id);
  }

  /** Carries a page out. Returns when to look again (ms). */
  async #look(): Promise<number> {
    const { redis, keys } = this.#parts;
    await this.#recall();
    const now = performance.now();
    for (const [id, untilMs] of this.#aside) if (untilMs < now) this.#aside.delete(id);
    const [seconds] = await redis.time();
    const rows = await redis.zrangebyscore(
      keys.erasures,
      '-inf',
      Number(seconds) * 1_000,
      'WITHSCORES',
      'LIMIT',
      0,
      PAGE + this.#aside.size,
    );
    const due = rows.flatMap((id, at) =>
      at % 2 === 1 || this.#aside.has(id) ? [] : [{ id, erasedMs: Number(rows[at + 1]) }],
    );
    if (due.length === 0) return LOOK_EVERY_MS;
    const known = (await Promise.all(due.map((wish) => this.#settled(wish.id, () => this.#known(wish))))).flatMap(
      (one) => one ?? [],
    );
    await this.#carryOut(known);
    return due.length >= PAGE ? 0 : LOOK_EVERY_MS;
  }

  /** What is stored of a job that is to be erased; undefined where it is not sealed yet. */
  async #known({ id, erasedMs }: { readonly id: string; readonly erasedMs: number }): Promise<Known | undefined> {
    const { redis, keys, archive } = this.#parts;
    const view = await this.#reader.readStored(id);
    const isSealed = view === undefined || view.record !== undefined || view.erased !== undefined;
    if (!isSealed) {
      this.#putAside(id);
      return undefined;
    }
    const record = (await redis.getBuffer(keys.record(id))) ?? (await archive.find(id));
    return { id, erasedMs, record, place: record && recordHead(record).index };
  }

  async #carryOut(all: readonly Known[]): Promise<void> {
    const { redis, keys, archive } = this.#parts;
    await archive.erasures.add(all);
    crashPoint('attestor.after-mark');
    const tiles = new Map<number, Promise<void>>();
    for (const { place } of all) {
      const tile = place === undefined ? undefined : Math.floor(place / TILE_WIDTH);
      if (tile !== undefined && !tiles.has(tile)) tiles.set(tile, archive.erase(tile));
    }
    await Promise.allSettled(tiles.values());
    crashPoint('attestor.after-erase-archive');
    const stubs = await Promise.all(
      all.map((one) =>
        this.#settled(one.id, async () => {
          if (one.place !== undefined) await tiles.get(Math.floor(one.place / TILE_WIDTH));
          return [one.id, await this.#stub(one)] as const;
        }),
      ),
    );
    crashPoint('attestor.before-erase');
    const args = stubs.flatMap((stub) => stub ?? []);
    if (args.length === 0) return;
    await ERASE.run(redis, [keys.erasures, keys.unsealed], [keys.prefix, ...args]);
    crashPoint('attestor.after-erase');
  }

  /** The stub that takes the place of the record, once the blobs of the job are gone. */
  async #stub({ id, place, record }: Known): Promise<Buffer | ''> {
    const { archive } = this.#parts;
    await this.#removeBlobs(id, record === undefined ? [] : [poolOfQueue(openAny(record).queue)]);
    // The mark of an earlier wish keeps its time.
    const erasedMs = await archive.erasures.at(id, place);
    if (erasedMs === undefined) throw new Error(`The mark of ${id} is gone.`);
    return record === undefined ? '' : erased(record, erasedMs);
  }

  /** Removes the blobs of a job, in the pools of its tag and in those that are known besides. */
  async #removeBlobs(id: string, known: readonly string[] = []): Promise<void> {
    const { blobs, pools } = this.#parts;
    const owners = new Set([...known, ...pools.filter((pool) => poolTag(pool) === id.slice(4, 8))]);
    const stores = [blobs.kept, ...[...owners].map((pool) => blobs.ofPool(pool))];
    await Promise.all(stores.map((store) => store.of(id).remove()));
  }

  /** What this resolves to; where it throws, the job is put aside for a while. */
  async #settled<Result>(id: string, work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#warn(error);
      this.#putAside(id);
      return undefined;
    }
  }

  #putAside(id: string): void {
    if (this.#aside.size < MAX_ASIDE) this.#aside.set(id, performance.now() + AGAIN_MS);
  }

  /** Compares the marks with a Redis that has not been compared with them. */
  async #recall(): Promise<void> {
    const { redis, keys, archive, keepMs, logger } = this.#parts;
    const run = /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1];
    if (run === undefined || run === this.#compared) return;
    let again = 0;
    let page: (string | number)[] = [];
    const ask = async () => {
      if (page.length > 0) again += await RECALL.run(redis, [keys.erasures], [keys.prefix, ...page]);
      page = [];
    };
    for await (const { id, erasedMs } of archive.erasures.createdAfter(Date.now() - (await keepMs()) - OPEN_MS)) {
      page.push(id, erasedMs);
      if (page.length >= 2 * RECALLED) await ask();
    }
    await ask();
    this.#compared = run;
    if (again > 0) logger.warn({ jobs: again }, 'Redis held what had been erased; it is erased again');
  }
}

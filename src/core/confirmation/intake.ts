import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { isOfPool, type RedisKeys } from '../../ground/redis/keys.ts';
import { cells, isOfAnotherType, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Backlog } from '../backlog/backlog.ts';
import type { Schedules, Whereabouts } from '../backlog/schedules.ts';
import { readCases, type CaseFile } from './case-file.ts';
import { cancellation, type Decisions } from './decisions.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import { Lookout } from './lookout.ts';
import { LONGEST_LIST, fewOfEach, newsIn, type News } from './news.ts';
import { judgeRelease } from './release-judge.ts';
import type { Ruling } from './rulings.ts';

const READ = loadScript(new URL('./lua/read-entries.lua', import.meta.url), listOf(parseEntry));

const GROUP = 'attestors';
/** Entries of a batch; each tells of up to `MAX_ITEMS` jobs. Where there are as many, there may be more. */
const BATCH = 16;
/** While more waits, so many are judged by turns at the least for each batch: smaller ones cost more. */
const TURN = 64;
/** Batches that are judged at once; unread entries wait in the stream, where others can take them. */
const MAX_IN_HAND = 10;
/** Without being woken, an intake looks this often: a wake-up can be lost, and claims wake nobody. */
const LOOK_EVERY_MS = 250;
/**
 * An entry that another attestor has held for longer is taken over: it died, or it is slower than it may be.
 */
const TAKE_OVER_MS = 5_000;
const INSPECT_EVERY_MS = 5_000;
/** An honest stream's newest entry is not this far in the future. */
const MAX_AHEAD_MS = 600_000;

/** An entry of which nothing is of our shape is acknowledged and forgotten. */
interface Entry {
  readonly entryId: string;
  readonly news: readonly News[];
}

interface IntakeParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** The stream that is read. */
  readonly stream: string;
  /** The pool whose workers write it; undefined where users' wishes are read. */
  readonly pool: string | undefined;
  readonly decisions: Decisions;
  readonly enrolled: EnrolledWorkers;
  readonly backlog: Backlog;
  readonly schedules: Schedules;
  readonly consumer: string;
  readonly logger: Logger;
}

/**
 * Reads one stream: what the workers of a pool claim and commit, or what users cancel. In batches, a few of
 * them in hand at once, it judges, decides and acknowledges, in this order. A crash at any point leaves
 * entries that are read again; deciding twice changes nothing, because a decision names the epoch that it is
 * about.
 *
 * While it is behind, it judges as much again as it takes in, further back and by turns: each tenant that has
 * something there is served in every turn, however much others have handed in before.
 *
 * A pool's stream is a mailbox that any of its workers can spoil. What was lost with it is found by the
 * sweep; the stream itself is made anew here.
 */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #lookout: Lookout;
  readonly #warn: (error: unknown) => void;
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();
  readonly #inHand = new Set<Promise<void>>();
  #lastTakeOver = 0;
  #lastInspection = 0;
  /** There may be more behind the new entries that were read last. */
  #isBehind = false;
  #isWoken = false;
  #wakeUp: () => void = () => undefined;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#lookout = new Lookout(parts.redis, parts.keys, parts.stream);
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed, stream: parts.stream }, `intake: ${messageOf(error).slice(0, 300)}`),
    );
  }

  start(): void {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.wake();
    await this.#loop;
    await Promise.all(this.#inHand);
  }

  /** Says that there may be something to read. */
  wake(): void {
    this.#isWoken = true;
    this.#wakeUp();
  }

  async #run(): Promise<void> {
    // On a new Redis there is none yet; what fails here is tried again when the stream is read.
    await this.#createGroup().catch(() => undefined);
    while (!this.#stopped) {
      try {
        while (this.#inHand.size >= MAX_IN_HAND) await Promise.race(this.#inHand);
        await this.#inspect();
        this.#isWoken = false;
        const entries = await this.#next();
        if (entries.length === 0) {
          await this.#pause();
          continue;
        }
        const news = this.#lookout.leftOf(entries.flatMap((entry) => entry.news));
        this.#begin(news, () => this.#acknowledge(entries));
        if (this.#isBehind) await this.#lookAhead(entries, Math.max(TURN, news.length));
      } catch (error) {
        if (this.#isStopped()) return;
        await this.#recover(error);
      }
    }
  }

  /** Judges so much of what stands behind these entries, by turns. */
  async #lookAhead(entries: readonly Entry[], most: number): Promise<void> {
    const last = entries.at(-1);
    if (last === undefined || this.#parts.pool === undefined) return;
    await this.#lookout.look(last.entryId);
    const ahead = this.#lookout.take(most);
    if (ahead.length > 0) this.#begin(ahead, () => this.#lookout.judged(ahead));
  }

  #begin(news: readonly News[], done: () => Promise<void> | void): void {
    const work = this.#finish(news, done).finally(() => this.#inHand.delete(work));
    this.#inHand.add(work);
  }

  async #pause(): Promise<void> {
    if (this.#isWoken || this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_EVERY_MS);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** What fails here is not acknowledged, and comes again. */
  async #finish(news: readonly News[], done: () => Promise<void> | void): Promise<void> {
    try {
      crashPoint('attestor.before-read');
      await this.#handle(news);
      await done();
      crashPoint('attestor.after-ack');
    } catch (error) {
      if (!this.#isStopped()) await this.#recover(error);
    }
  }

  /** A Redis that came back empty, or was replaced, has no groups; a stream of another type is none. */
  async #recover(error: unknown): Promise<void> {
    this.#warn(error);
    if (isOfAnotherType(error)) await this.#remake().catch(this.#warn);
    else if (messageOf(error).includes('NOGROUP')) await this.#createGroup().catch(this.#warn);
    await sleep(100);
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  /** What cannot be judged now is put aside and comes again from there. */
  async #handle(all: readonly News[]): Promise<void> {
    const news = fewOfEach(all.filter((one) => this.#mayTell(one)));
    const committed = news.flatMap((one) => (one.kind === 'committed' || one.kind === 'released' ? [one.id] : []));
    const claims = new Map(news.flatMap((one) => (one.kind === 'claimed' ? [[one.id, one]] : [])));
    for (const id of committed) claims.delete(id);
    // What is decided stands nowhere any more; what is not decided yet is placed when that is known.
    const [undecided, queues] = await Promise.all([this.#decide(news), this.#place([...claims.values()])]);
    await this.#parts.backlog.release([...queues, ...undecided.freed, ...(await this.#place(undecided.files))]);
  }

  /** A pool's stream tells of its own jobs; what users cancel is told elsewhere. */
  #mayTell({ kind, id }: News): boolean {
    const { pool } = this.#parts;
    return pool === undefined ? kind === 'cancelled' : kind !== 'cancelled' && isOfPool(id, pool);
  }

  /** Returns the cases that are not decided, and the queues in which something has ended. */
  async #decide(news: readonly News[]): Promise<{ files: CaseFile[]; freed: string[] }> {
    const { redis, keys, enrolled, decisions } = this.#parts;
    const told = news.filter((one) => one.kind !== 'claimed');
    const files = await readCases(redis, keys, told);
    const toJudge: CaseFile[] = [];
    const undecided: CaseFile[] = [];
    const rulings: Ruling[] = [];
    told.forEach(({ kind }, at) => {
      const file = files[at];
      // A confirmation that has its place in the log is decided.
      if (file === undefined || file.ended || file.logged !== undefined) return;
      if (kind === 'committed') {
        const isCurrent = file.phase === 'attesting' && file.epoch === file.currentEpoch;
        (isCurrent && file.statement.kind !== 'missing' ? toJudge : undecided).push(file);
      } else if (kind === 'released') {
        if (file.epoch !== file.currentEpoch) return;
        const ruling = judgeRelease(file, enrolled);
        if (ruling) rulings.push(ruling);
      } else if (file.phase !== 'running' && file.cancelAskedMs !== undefined) {
        // A running job is ended when its worker has stopped, or its lease has run out.
        rulings.push(cancellation(file));
      }
    });
    await decisions.rule(rulings);
    const { confirmed } = await decisions.judge(toJudge).catch(async (error: unknown) => {
      // The entries stay, and come again; the places of their workers are free now.
      await this.#parts.backlog.release(await this.#place([...undecided, ...toJudge]));
      throw error;
    });
    undecided.push(...toJudge.filter(({ id }) => !confirmed.has(id)));
    return { files: undecided, freed: toJudge.map(({ queue }) => queue) };
  }

  /** Notes which jobs run and which are to be confirmed; the queues in which there may be room. */
  async #place(jobs: readonly Whereabouts[]): Promise<string[]> {
    return jobs.length === 0 ? [] : this.#parts.schedules.place(jobs);
  }

  /** Entries of others that stopped half-way, else new ones. */
  async #next(): Promise<Entry[]> {
    const now = performance.now();
    if (now - this.#lastTakeOver >= TAKE_OVER_MS / 2) {
      this.#lastTakeOver = now;
      const stale = await this.#read(TAKE_OVER_MS);
      if (stale.length > 0) {
        this.#isBehind = false;
        return stale;
      }
    }
    const entries = await this.#read('');
    this.#isBehind = entries.length === BATCH;
    if (!this.#isBehind) this.#lookout.forget();
    return entries;
  }

  #read(heldForMs: number | ''): Promise<Entry[]> {
    const { redis, keys, stream, consumer } = this.#parts;
    return READ.run(redis, [keys.open], [stream, GROUP, consumer, BATCH, LONGEST_LIST, heldForMs]);
  }

  async #acknowledge(entries: readonly Entry[]): Promise<void> {
    const { redis, stream } = this.#parts;
    const ids = entries.map(({ entryId }) => entryId);
    await redis
      .pipeline()
      .xack(stream, GROUP, ...ids)
      .xdel(stream, ...ids)
      .exec();
  }

  async #createGroup(): Promise<void> {
    const { redis, stream } = this.#parts;
    await redis.xgroup('CREATE', stream, GROUP, '0', 'MKSTREAM').catch((error: unknown) => {
      if (!messageOf(error).includes('BUSYGROUP')) throw error;
    });
  }

  /** A stream that holds the largest id takes no entry any more. */
  async #inspect(): Promise<void> {
    const now = performance.now();
    if (now - this.#lastInspection < INSPECT_EVERY_MS) return;
    this.#lastInspection = now;
    const { redis, stream } = this.#parts;
    const info: unknown = await redis.xinfo('STREAM', stream).catch((error: unknown) => {
      if (!/no such key/.test(messageOf(error))) throw error;
      return [];
    });
    const facts = Array.isArray(info) ? (info as unknown[]) : [];
    const last = facts[facts.indexOf('last-generated-id') + 1];
    const seconds = Number((await redis.time())[0]);
    if (typeof last === 'string' && Number(last.split('-')[0]) > seconds * 1_000 + MAX_AHEAD_MS) await this.#remake();
  }

  async #remake(): Promise<void> {
    const { redis, stream, logger } = this.#parts;
    logger.warn({ stream }, 'a mailbox was spoilt and is made anew; what it held is found by the documents');
    await redis.unlink(stream);
    await this.#createGroup();
  }
}

/** Entries of a pool's stream are hostile input. */
function parseEntry(row: unknown): Entry {
  const [entryId = '', jobs = ''] = cells(row).map(text);
  return { entryId, news: newsIn(jobs) };
}

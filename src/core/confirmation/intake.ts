import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Backlog } from '../backlog/backlog.ts';
import type { Schedules, Whereabouts } from '../backlog/schedules.ts';
import { isJobId } from '../jobs/job-id.ts';
import { readCases, type CaseFile, type CaseRef } from './case-file.ts';
import { cancellation, type Decisions } from './decisions.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import { judgeRelease } from './release-judge.ts';
import type { Ruling } from './rulings.ts';

const READ = loadScript(new URL('./lua/read-entries.lua', import.meta.url), listOf(parseEntry));

const GROUP = 'attestors';
const BATCH = 50;
const LONGEST_FIELD = 128;
/** What one call of claim.lua can claim, with its epochs. */
const LONGEST_LIST = 4_096;
const MOST_CLAIMS = 64;
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

interface Entry {
  readonly entryId: string;
  readonly kind: 'e' | 'r' | 'c';
  /** Absent where the entry is not of our shape: it is acknowledged and forgotten. */
  readonly ref: CaseRef | undefined;
  /** What was claimed; the rest of such an entry is empty. */
  readonly claims: readonly Whereabouts[];
}

interface IntakeParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** The stream that is read. */
  readonly stream: string;
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
 * A pool's stream is a mailbox that any of its workers can spoil. What was lost with it is found by the
 * sweep; the stream itself is made anew here.
 */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #warn: (error: unknown) => void;
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();
  readonly #inHand = new Set<Promise<void>>();
  #lastTakeOver = 0;
  #lastInspection = 0;
  #isWoken = false;
  #wakeUp: () => void = () => undefined;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
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
        const work = this.#finish(entries).finally(() => this.#inHand.delete(work));
        this.#inHand.add(work);
      } catch (error) {
        if (this.#isStopped()) return;
        await this.#recover(error);
      }
    }
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
  async #finish(entries: readonly Entry[]): Promise<void> {
    try {
      crashPoint('attestor.before-read');
      await this.#handle(entries);
      await this.#acknowledge(entries);
      crashPoint('attestor.after-ack');
    } catch (error) {
      if (!this.#isStopped()) await this.#recover(error);
    }
  }

  /** A Redis that came back empty, or was replaced, has no groups; a stream of another type is none. */
  async #recover(error: unknown): Promise<void> {
    this.#warn(error);
    const message = messageOf(error);
    if (message.includes('WRONGTYPE')) await this.#remake().catch(this.#warn);
    else if (message.includes('NOGROUP')) await this.#createGroup().catch(this.#warn);
    await sleep(100);
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  /** What cannot be judged now is put aside and comes again from there. */
  async #handle(entries: readonly Entry[]): Promise<void> {
    await Promise.all([this.#decide(entries), this.#place(entries)]);
  }

  async #decide(entries: readonly Entry[]): Promise<void> {
    const { redis, keys, enrolled, decisions } = this.#parts;
    const ours = entries.flatMap(({ kind, ref }) => (ref === undefined ? [] : [{ kind, ref }]));
    const files = await readCases(
      redis,
      keys,
      ours.map(({ ref }) => ref),
    );
    const toJudge: CaseFile[] = [];
    const rulings: Ruling[] = [];
    ours.forEach(({ kind }, index) => {
      const file = files[index];
      // A confirmation that has its place in the log is decided.
      if (file === undefined || file.ended || file.logged !== undefined) return;
      if (kind === 'e') {
        if (file.phase === 'attesting' && file.epoch === file.currentEpoch && file.statement.kind !== 'missing')
          toJudge.push(file);
      } else if (kind === 'r') {
        const ruling = judgeRelease(file, enrolled);
        if (ruling) rulings.push(ruling);
      } else if (file.phase !== 'running') {
        // A running job is ended when its worker has stopped, or its lease has run out.
        rulings.push(cancellation(file));
      }
    });
    await decisions.rule(rulings);
    await decisions.judge(toJudge);
  }

  /**
   * Notes which jobs run and which are to be confirmed, and releases others in their place. What was claimed
   * and committed since the last turn is noted once, and what was given back not at all: a ruling places it.
   */
  async #place(entries: readonly Entry[]): Promise<void> {
    const { schedules, backlog } = this.#parts;
    const moved = new Map<string, Whereabouts>();
    for (const { claims, kind, ref } of entries) {
      for (const claim of claims) moved.set(claim.id, claim);
      if (ref?.epoch !== undefined && kind === 'e') moved.set(ref.id, { id: ref.id, epoch: ref.epoch });
      if (ref !== undefined && kind === 'r') moved.delete(ref.id);
    }
    if (moved.size > 0) await backlog.release(await schedules.place([...moved.values()]));
  }

  /** Entries of others that stopped half-way, else new ones. */
  async #next(): Promise<Entry[]> {
    const now = performance.now();
    if (now - this.#lastTakeOver >= TAKE_OVER_MS / 2) {
      this.#lastTakeOver = now;
      const stale = await this.#read(TAKE_OVER_MS);
      if (stale.length > 0) return stale;
    }
    return this.#read('');
  }

  #read(heldForMs: number | ''): Promise<Entry[]> {
    const { redis, keys, stream, consumer } = this.#parts;
    return READ.run(redis, [keys.open], [stream, GROUP, consumer, BATCH, LONGEST_FIELD, heldForMs, LONGEST_LIST]);
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
  const [entryId = '', kind, id = '', field = '', ids = ''] = cells(row).map(text);
  if (kind === 'b') return { entryId, kind: 'c', ref: undefined, claims: parseClaims(ids) };
  if (!isJobId(id)) return { entryId, kind: 'c', ref: undefined, claims: [] };
  if (kind !== 'e' && kind !== 'r') return { entryId, kind: 'c', ref: kind === 'c' ? { id } : undefined, claims: [] };
  const epoch = Number(/^(\d{1,4}):[0-9a-f]{32}$/.exec(field)?.[1]);
  const ref = epoch >= 1 && epoch <= 1_000 ? { id, epoch, field } : undefined;
  return { entryId, kind, ref, claims: [] };
}

/** `<id>:<epoch>` of each claim, separated by spaces. */
function parseClaims(list: string): Whereabouts[] {
  return list
    .split(' ', MOST_CLAIMS)
    .map((claim) => /^(.{1,64}):(\d{1,4})$/.exec(claim))
    .flatMap((parts) =>
      parts?.[1] !== undefined && isJobId(parts[1]) ? [{ id: parts[1], epoch: Number(parts[2]) }] : [],
    );
}

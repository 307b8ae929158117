import { channel } from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { isJobId } from '../jobs/job-id.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { readCases, type CaseFile, type CaseRef } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import type { Judge } from './judge.ts';
import { judgeRelease } from './release-judge.ts';
import type { Sequencer } from './sequencer.ts';
import { RECOMPUTE_QUEUE, type RecomputeQueue } from './recompute-queue.ts';
import type { Ruling, RulingReply, Rulings } from './rulings.ts';

/** Published for each ruling that was applied or refused: `{ ruling, reply }`. */
export const ruled = channel('countersign.attestor.ruled');

const GROUP = 'attestors';
const BATCH = 50;
/**
 * Batches that are judged, logged and ruled on at once; unread entries wait in the stream, where others can
 * take them.
 */
const MAX_IN_HAND = 10;
const BLOCK_MS = 2_000;
/**
 * An entry that another attestor has held for longer is taken over: it died, or it is slower than it may be.
 */
const TAKE_OVER_MS = 5_000;

interface Entry {
  readonly entryId: string;
  readonly stream: 'attest' | 'cancels';
  readonly kind: 'e' | 'r' | 'c';
  readonly ref: CaseRef;
}

interface IntakeParts {
  readonly redis: Redis;
  /** Used by nobody else, because it blocks. */
  readonly blocking: Redis;
  readonly keys: RedisKeys;
  readonly judge: Judge;
  readonly rulings: Rulings;
  readonly sequencer: Sequencer;
  readonly enrolled: EnrolledWorkers;
  readonly recomputations: RecomputeQueue;
  readonly consumer: string;
  readonly logger: Logger;
}

/**
 * Reads what workers commit and what users cancel, in batches, a few of them in hand at once (one is checked
 * while another waits for the log), judges, rules and acknowledges, in this order. A crash at any point
 * leaves entries that are read again; ruling twice changes nothing, because a ruling names the epoch that it
 * is about.
 */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #warn: (error: unknown) => void;
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();
  readonly #inHand = new Set<Promise<void>>();
  #lastTakeOver = 0;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `intake: ${messageOf(error).slice(0, 300)}`),
    );
  }

  async start(): Promise<void> {
    await this.#createGroups();
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#parts.blocking.disconnect();
    await this.#loop;
    await Promise.all(this.#inHand);
  }

  /** Judges cases and applies what comes of it; also the sweep's way for stuck attestations. */
  async judge(files: readonly CaseFile[]): Promise<void> {
    const judgements = await Promise.all(
      files.map(async (file) => ({ file, judgement: await this.#parts.judge.judgeQuickly(file) })),
    );
    crashPoint('attestor.after-checks');
    const slow = judgements.filter(({ judgement }) => judgement.kind === 'slow');
    if (slow.length > 0) {
      await this.#parts.recomputations.add(
        RECOMPUTE_QUEUE,
        slow.map(({ file: { id, epoch, field, tenant, cost } }) => ({
          name: `${id}-${epoch}`,
          data: { id, epoch, field },
          tenant,
          cost,
        })),
      );
    }
    await this.rule(judgements.flatMap(({ judgement }) => (judgement.kind === 'rule' ? [judgement.ruling] : [])));
  }

  /** Applies rulings: confirmations when their verdicts stand in the log, the others at once. */
  async rule(rulings: readonly Ruling[]): Promise<void> {
    const confirmations = rulings.filter(({ action }) => action.kind === 'end' && action.state === 'done');
    const others = rulings.filter((ruling) => !confirmations.includes(ruling));
    await Promise.all([this.#apply(others), this.#log(confirmations).then((logged) => this.#apply(logged))]);
  }

  async #log(confirmations: readonly Ruling[]): Promise<Ruling[]> {
    const verdicts = confirmations.flatMap(({ id, epoch, verdict }) =>
      verdict === undefined ? [] : [{ id, epoch, field: verdict.field, verdict: verdict.signed }],
    );
    const sizes = await this.#parts.sequencer.log(verdicts);
    return confirmations.flatMap((ruling, index) => {
      const logSize = sizes[index];
      return logSize === undefined ? [] : [{ ...ruling, logSize }];
    });
  }

  /** A confirmation that meets a wish to cancel becomes a cancellation. */
  async #apply(rulings: readonly Ruling[]): Promise<void> {
    if (rulings.length === 0) return;
    const replies = await this.#parts.rulings.apply(rulings);
    crashPoint('attestor.after-rule');
    publish(rulings, replies);
    const cancelled = rulings.filter((_, index) => replies[index]?.kind === 'cancelled').map(cancellation);
    if (cancelled.length > 0) publish(cancelled, await this.#parts.rulings.apply(cancelled));
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        while (this.#inHand.size >= MAX_IN_HAND) await Promise.race(this.#inHand);
        const entries = await this.#next();
        if (entries.length === 0) continue;
        const work = this.#finish(entries).finally(() => this.#inHand.delete(work));
        this.#inHand.add(work);
      } catch (error) {
        if (this.#isStopped()) return;
        await this.#recover(error);
      }
    }
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

  async #recover(error: unknown): Promise<void> {
    this.#warn(error);
    // A Redis that came back empty, or was replaced, has no groups.
    if (messageOf(error).includes('NOGROUP')) await this.#createGroups().catch(this.#warn);
    await sleep(100);
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  async #handle(entries: readonly Entry[]): Promise<void> {
    const { redis, keys, enrolled } = this.#parts;
    const files = await readCases(
      redis,
      keys,
      entries.map(({ ref }) => ref),
    );
    const toJudge: CaseFile[] = [];
    const rulings: Ruling[] = [];
    entries.forEach((entry, index) => {
      const file = files[index];
      if (file === undefined || file.ended) return;
      if (entry.kind === 'e') {
        if (file.phase === 'attesting' && file.epoch === file.currentEpoch && file.statement.kind !== 'missing')
          toJudge.push(file);
      } else if (entry.kind === 'r') {
        const ruling = judgeRelease(file, enrolled);
        if (ruling) rulings.push(ruling);
      } else if (file.phase !== 'running') {
        // A running job is ended when its worker has stopped, or its lease has run out.
        rulings.push(cancellation(file));
      }
    });
    await this.rule(rulings);
    await this.judge(toJudge);
  }

  async #next(): Promise<Entry[]> {
    const { blocking, keys, consumer } = this.#parts;
    const stale = await this.#takeOver();
    if (stale.length > 0) return stale;
    const reply = await blocking.xreadgroup(
      'GROUP',
      GROUP,
      consumer,
      'COUNT',
      BATCH,
      'BLOCK',
      BLOCK_MS,
      'STREAMS',
      keys.attest,
      keys.cancels,
      '>',
      '>',
    );
    return parseStreams(keys, reply);
  }

  async #takeOver(): Promise<Entry[]> {
    const now = performance.now();
    if (now - this.#lastTakeOver < TAKE_OVER_MS / 2) return [];
    this.#lastTakeOver = now;
    const { redis, keys, consumer } = this.#parts;
    const found: Entry[] = [];
    for (const [stream, key] of [
      ['attest', keys.attest],
      ['cancels', keys.cancels],
    ] as const) {
      const reply: unknown = await redis.xautoclaim(key, GROUP, consumer, TAKE_OVER_MS, '0', 'COUNT', BATCH);
      if (Array.isArray(reply)) found.push(...parseEntries(stream, reply[1]));
    }
    return found;
  }

  async #acknowledge(entries: readonly Entry[]): Promise<void> {
    const { redis, keys } = this.#parts;
    const pipeline = redis.pipeline();
    for (const stream of ['attest', 'cancels'] as const) {
      const ids = entries.filter((entry) => entry.stream === stream).map(({ entryId }) => entryId);
      if (ids.length === 0) continue;
      const key = stream === 'attest' ? keys.attest : keys.cancels;
      pipeline.xack(key, GROUP, ...ids);
      // Workers and APIs follow the cancel stream too; it is bounded where it is written.
      if (stream === 'attest') pipeline.xdel(key, ...ids);
    }
    await pipeline.exec();
  }

  async #createGroups(): Promise<void> {
    const { redis, keys } = this.#parts;
    for (const key of [keys.attest, keys.cancels]) {
      await redis.xgroup('CREATE', key, GROUP, '0', 'MKSTREAM').catch((error: unknown) => {
        if (!messageOf(error).includes('BUSYGROUP')) throw error;
      });
    }
  }
}

/** The end of a job that somebody asked to stop and that nobody runs. */
export function cancellation(about: { id: string; epoch: number }): Ruling {
  return {
    id: about.id,
    epoch: about.epoch,
    phases: ['queued', 'attesting'],
    action: { kind: 'end', state: 'cancelled' },
    code: 'cancelled',
    detail: 'Nobody was running it any more.',
  };
}

function publish(rulings: readonly Ruling[], replies: readonly RulingReply[]): void {
  if (!ruled.hasSubscribers) return;
  rulings.forEach((ruling, index) => ruled.publish({ ruling, reply: replies[index] }));
}

function parseStreams(keys: RedisKeys, reply: unknown): Entry[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((stream: unknown) =>
    Array.isArray(stream) ? parseEntries(stream[0] === keys.attest ? 'attest' : 'cancels', stream[1]) : [],
  );
}

/**
 * Entries of the attestation stream are hostile input: what is not of our shape is acknowledged and
 * forgotten.
 */
function parseEntries(stream: Entry['stream'], entries: unknown): Entry[] {
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown): Entry[] => {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string') return [];
    const fields: unknown[] = Array.isArray(entry[1]) ? entry[1] : [];
    const value = (name: string) => {
      const at = fields.indexOf(name);
      const found = at >= 0 && at % 2 === 0 ? fields[at + 1] : undefined;
      return typeof found === 'string' ? found : '';
    };
    const [entryId, id] = [entry[0], value('id')];
    const nothing: Entry = { entryId, stream, kind: 'c', ref: { id: '-' } };
    if (!isJobId(id)) return [nothing];
    if (stream === 'cancels') return [{ entryId, stream, kind: 'c', ref: { id } }];
    const kind = value('k');
    const field = value('field');
    const epoch = Number(/^(\d{1,4}):[0-9a-f]{32}$/.exec(field)?.[1]);
    if (!(epoch >= 1 && epoch <= 1_000) || (kind !== 'e' && kind !== 'r')) return [nothing];
    return [{ entryId, stream, kind, ref: { id, epoch, field } }];
  });
}

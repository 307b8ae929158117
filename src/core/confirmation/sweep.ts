import type { Redis } from 'ioredis';
import type { PoolQueues } from '../../ground/bull/fair-queues.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { poolOfQueue, type RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { readCases, type CaseFile } from './case-file.ts';
import { cancellation, type Decisions } from './decisions.ts';
import { deliveryName, type Ruling } from './rulings.ts';

const OTHER_COMMITS = loadScript(new URL('./lua/other-commits.lua', import.meta.url), listOf(text));

const BATCH = 200;
/** A queued job is looked at again this often: is its delivery still there? */
const QUEUED_LOOK_MS = 3_000;
/** Evidence that has waited for longer was not heard of; it is read from the documents instead. */
const ATTEST_LOOK_MS = 3_000;
/** The work is done; its confirmation may take this much longer than the deadline. */
const ATTEST_GRACE_MS = 60_000;
/** Past its deadline a worker stops by itself; this much later it is not waited for. */
const STOP_GRACE_MS = 2_000;
/** Cases that are judged at once beside the looks. */
const MAX_IN_HAND = 5_000;
/** So many commits beside the first of an epoch are looked at; an honest epoch has none. */
const MAX_BESIDE = 50;

/**
 * Looks after every open job whose time has come: expired, cancelled, abandoned by its worker, lost by the
 * queue, or unheard by the intake. Every attestor sweeps; two that look at one job do the same thing twice,
 * and the second time changes nothing. It requeues and judges by the same code as the normal path.
 */
export class Sweep {
  readonly #parts: SweepParts;
  readonly #looks: PeriodicTask;
  readonly #warn: (error: unknown) => void;
  /** Jobs that are being judged. */
  readonly #inHand = new Set<string>();

  constructor(parts: SweepParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `sweep: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(
      async () => {
        await this.once();
        return parts.everyMs;
      },
      this.#warn,
      parts.everyMs,
    );
  }

  start(): void {
    this.#looks.start(this.#parts.everyMs);
  }

  async stop(): Promise<void> {
    await this.#looks.stop();
  }

  /** One look at what is due, at most 200 jobs. */
  async once(): Promise<void> {
    const { redis, keys } = this.#parts;
    const due = await redis.zrangebyscore(keys.open, '-inf', Date.now(), 'LIMIT', 0, BATCH);
    const files = await readCases(
      redis,
      keys,
      due.map((id) => ({ id })),
    );
    const next: [number, string][] = [];
    const gone: string[] = [];
    const toJudge: CaseFile[] = [];
    const rulings: Ruling[] = [];
    const undelivered: CaseFile[] = [];
    due.forEach((id, index) => {
      const file = files[index];
      // A confirmation that has its place in the log is decided, whatever else is due.
      if (file === undefined || file.ended || file.logged !== undefined) {
        gone.push(id);
        return;
      }
      const ruling = overdue(file);
      if (ruling) rulings.push(ruling);
      else if (file.phase === 'queued') undelivered.push(file);
      else if (file.phase === 'attesting' && shouldJudge(file)) toJudge.push(file);
      next.push([nextLook(file), id]);
    });
    if (gone.length > 0) await redis.zrem(keys.open, ...gone);
    // XX: a job that ended in the meantime must not come back.
    if (next.length > 0) await redis.zadd(keys.open, 'XX', ...next.flat());
    this.#beside(toJudge, (all) => this.#judge(all));
    // Each by itself: what one meets holds up no other.
    const results = await Promise.allSettled([this.#parts.decisions.rule(rulings), this.#redeliver(undelivered)]);
    for (const result of results) if (result.status === 'rejected') this.#warn(result.reason);
  }

  /**
   * Judges beside the looks: a blob or a check that is slow holds up no deadline and no lost worker. A case
   * is in hand once.
   */
  #beside(files: readonly CaseFile[], work: (files: readonly CaseFile[]) => Promise<void>): void {
    const fresh = files.filter(({ id }) => !this.#inHand.has(id)).slice(0, MAX_IN_HAND - this.#inHand.size);
    if (fresh.length === 0) return;
    for (const { id } of fresh) this.#inHand.add(id);
    void work(fresh)
      .catch(this.#warn)
      .finally(() => {
        for (const { id } of fresh) this.#inHand.delete(id);
      });
  }

  /**
   * Judges what was committed and not heard of. Where the claimant did not sign what stands first, somebody
   * else wrote it: the claimant's own may stand beside it, and if its lease has run out without one, it is
   * lost.
   */
  async #judge(files: readonly CaseFile[]): Promise<void> {
    const { redis, keys, decisions } = this.#parts;
    const { ignored } = await decisions.judge(files);
    const silent: CaseFile[] = [];
    for (const file of ignored) {
      const args = [keys.prefix, file.id, file.epoch, file.field, MAX_BESIDE];
      const fields = await OTHER_COMMITS.run(redis, [keys.open], args);
      const refs = fields.map((field) => ({ id: file.id, epoch: file.epoch, field }));
      const beside = (await readCases(redis, keys, refs)).filter((one) => one?.statement.kind === 'stored');
      const found = await decisions.judge(beside.flatMap((one) => one ?? []));
      if (found.ignored.length === beside.length && file.leaseMs === 0) silent.push(file);
    }
    await decisions.rule(silent.map(lostWorker));
  }

  /**
   * Adds the deliveries that BullMQ no longer has: never added (a crash after admission or after a ruling),
   * or deleted by a hostile worker of the pool. A second delivery of a job does no harm, since only one claim
   * succeeds.
   */
  async #redeliver(files: readonly CaseFile[]): Promise<void> {
    const { redis, keys, queues, logger } = this.#parts;
    for (const file of files) {
      const base = `${keys.poolQueues(poolOfQueue(file.queue))}:${file.queue}:`;
      const name = deliveryName(file.id, file.currentEpoch);
      const reply = await redis
        .multi()
        .exists(base + name)
        .zscore(`${base}prioritized`, name)
        .lpos(`${base}active`, name)
        .zscore(`${base}delayed`, name)
        .lpos(`${base}wait`, name)
        .exec();
      const [known, ...places] = (reply ?? []).map(([, value]) => value);
      if (known === 1 && places.some((place) => place !== null)) continue;
      await redis.unlink(base + name);
      await queues.add(file.queue, [{ name, data: { id: file.id }, tenant: file.tenant, cost: file.cost }]);
      logger.warn({ job: file.id, queue: file.queue }, 'the queue had lost a delivery; it was added again');
    }
  }
}

interface SweepParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly queues: PoolQueues;
  readonly decisions: Decisions;
  readonly everyMs: number;
  readonly logger: Logger;
}

/** The ruling that an open job's time calls for, if any. */
function overdue(file: CaseFile): Ruling | undefined {
  const about = { id: file.id, epoch: file.currentEpoch };
  const end = (state: 'cancelled' | 'expired', detail: string): Ruling => ({
    ...about,
    phases: [file.phase],
    action: { kind: 'end', state },
    code: state,
    detail,
  });
  switch (file.phase) {
    case 'queued':
      if (file.cancelAskedMs !== undefined) return cancellation(about);
      if (file.nowMs > file.deadlineMs) return end('expired', 'The deadline passed before a worker was free.');
      return undefined;
    case 'running':
      if (file.leaseMs === 0 && file.cancelAskedMs !== undefined)
        return end('cancelled', 'The worker that ran it was lost.');
      if (file.nowMs > file.deadlineMs + STOP_GRACE_MS) return end('expired', 'The deadline passed while the job ran.');
      return file.leaseMs === 0 ? lostWorker(file) : undefined;
    case 'attesting':
      if (file.cancelAskedMs !== undefined) return cancellation(about);
      if (file.nowMs > file.deadlineMs + ATTEST_GRACE_MS)
        return end('expired', 'The deadline passed before the answer was confirmed.');
      return undefined;
  }
}

/** The attempt of a worker whose lease has run out before it committed anything. */
function lostWorker(file: CaseFile): Ruling {
  return {
    id: file.id,
    epoch: file.currentEpoch,
    // `attesting` where another worker has entered a commit in its place.
    phases: ['running', 'attesting'],
    action: { kind: 'lost' },
    code: 'attempts_exhausted',
    detail: 'The worker that ran it was lost.',
  };
}

/** Evidence that is missing although it was announced: somebody squats; the claimant may still come. */
function shouldJudge(file: CaseFile): boolean {
  if (file.committedMs === undefined || file.nowMs - file.committedMs < ATTEST_LOOK_MS) return false;
  return file.statement.kind !== 'missing' || file.leaseMs === 0;
}

/** When (ms) the job is to be looked at again. */
function nextLook(file: CaseFile): number {
  const now = Date.now();
  const deadline = file.deadlineMs - file.nowMs;
  switch (file.phase) {
    case 'queued':
      return now + Math.min(QUEUED_LOOK_MS, Math.max(100, deadline + 50));
    case 'running':
      return now + Math.max(100, Math.min(file.leaseMs + 20, Math.max(deadline, 0) + STOP_GRACE_MS + 50, 5_000));
    case 'attesting':
      return now + ATTEST_LOOK_MS;
  }
}

import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { COURIER_AWAY_MS, isOver, type Batches } from '../batches/batch.store.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { count, measure } from '../../ground/metrics/process-metrics.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { beginSpan, type Span } from '../../ground/tracing/spans.ts';
import { UNSTORED_MS } from '../../core/jobs/erased-record.ts';
import type { Wake } from '../../core/jobs/wake.ts';
import { PERIOD, RESERVE } from '../../core/jobs/reserve.ts';
import { JobReader, type JobView } from '../../core/jobs/job.reader.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import {
  KEEP_MESSAGES_MS,
  MAX_WAITING_OF_ENDPOINT,
  MAX_WAITING_OF_TENANT,
} from '../webhooks/webhook-messages.store.ts';
import { LOSE } from '../webhooks/lua-parts.ts';
import { MAX_FEED_EVENTS, type Webhooks } from '../webhooks/webhook.store.ts';
import { Sums, addedBy, type TallyUpdate } from '../dashboard/tally.ts';
import { MAX_REFUTATIONS, type Refutation } from '../dashboard/tallies.ts';
import { Listeners } from './listeners.ts';
import { batchEvent, jobEvents } from '../webhooks/webhook-event.ts';
import { feedEvents } from './feed-events.ts';
import { emptyEnd, outcomeOf, phasesOf, type EndedPhases, type PrivateNotes } from './job-end.ts';
import { recentAverage } from './recent-duration.ts';

const ENTER = loadScript(new URL('./lua/enter.lua', import.meta.url), integer, { included: [RESERVE, PERIOD, LOSE] });

const LOOK_EVERY_MS = 100;
/** After so long without an end or a hint, it looks as seldom as `IDLE_LOOK_MS` until the next hint. */
const IDLE_AFTER_MS = 1_000;
const IDLE_LOOK_MS = 500;
/** Ends recorded by one call of the script. */
const MAX_ENDS_PER_CALL = 200;
const MAX_HINTS_PER_LOOK = 500;
/** What is heard beyond this is told when the job ends. */
const MAX_HINTS = 20_000;
const KEEP_USAGE_MS = 400 * 86_400_000;
const LEASE_MS = 5_000;
const RENEW_AFTER_MS = 1_000;
const NO_NOTES: PrivateNotes = { webhook: '', payment: '', batchLine: '', trace: '' };

/** What recording the ends of jobs needs. */
export interface JobEndParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly webhooks: Webhooks;
  readonly batches: Batches;
  readonly wake: Wake;
}

/**
 * Records the end of every job: usage, ledger, payment, events and webhook messages. It follows the order in
 * which jobs ended by one number, the cursor. The cursor is written together with what is recorded, so a
 * crash anywhere leaves an end recorded once or not yet. Events of open jobs come from hints, and again from
 * the documents when the job ends: a lost hint delays an event, and loses none.
 *
 * A lease lets one courier do this at a time. Two of them would only do the same work twice.
 */
export class JobEndProcessor {
  readonly #parts: JobEndParts;
  readonly #reader: JobReader;
  readonly #logger: Logger;
  readonly #owner: string;
  readonly #looks: PeriodicTask;
  readonly #recentDurations = new Map<string, number>();
  /** Jobs that may have changed since the last look. */
  readonly #hints = new Set<string>();
  /** By the clock of `performance`, ms. */
  #renewAtMs = 0;
  #busyUntilMs = 0;
  #isIdle = false;

  constructor(parts: JobEndParts, logger: Logger, owner: string) {
    this.#parts = parts;
    this.#reader = new JobReader(parts.redis, parts.keys, parts.keys.open);
    this.#logger = logger;
    this.#owner = owner;
    parts.wake.hear((id) => {
      if (this.#hints.size < MAX_HINTS) this.#hints.add(id);
      if (!this.#isIdle) return;
      this.#isIdle = false;
      this.#looks.wake();
    });
    const warn = rateLimited(5_000, (error) => logger.warn(`job ends: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS * 5);
  }

  /** Begins to follow the ends of jobs. */
  start(): void {
    this.#looks.start();
  }

  /** Resolves when the current step is done, and lets another courier take over at once. */
  async stop(): Promise<void> {
    await this.#looks.stop();
    const { redis, keys } = this.#parts;
    if ((await redis.get(keys.jobEndsLease).catch(() => undefined)) === this.#owner)
      await redis.unlink(keys.jobEndsLease).catch(() => undefined);
  }

  /** Records what has ended. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const startedMs = performance.now();
    if (startedMs >= this.#renewAtMs) {
      if (!(await this.#holdsLease())) return LEASE_MS / 5;
      this.#renewAtMs = startedMs + RENEW_AFTER_MS;
    }
    const listeners = new Listeners(this.#parts);
    const ended = await this.#enterEnds(listeners);
    await this.#enterBatchEnds(listeners);
    const heard = this.#hints.size > 0;
    const hinted = await this.#enterOpenEvents(listeners);
    if (ended >= MAX_ENDS_PER_CALL || hinted) return 0;
    if (ended > 0 || heard) this.#busyUntilMs = startedMs + IDLE_AFTER_MS;
    this.#isIdle = startedMs >= this.#busyUntilMs;
    return this.#isIdle ? IDLE_LOOK_MS : LOOK_EVERY_MS;
  }

  /** Takes the lease, or lives on with it. Returns whether it is ours. */
  async #holdsLease(): Promise<boolean> {
    const { redis, keys } = this.#parts;
    if ((await redis.set(keys.jobEndsLease, this.#owner, 'PX', LEASE_MS, 'NX')) === 'OK') return true;
    if ((await redis.get(keys.jobEndsLease)) !== this.#owner) return false;
    await redis.pexpire(keys.jobEndsLease, LEASE_MS);
    return true;
  }

  /** Records the next ends. Returns how many there were. */
  async #enterEnds(listeners: Listeners): Promise<number> {
    const { redis, keys } = this.#parts;
    const cursor = (await redis.hget(keys.jobEnds, 'cursor')) ?? '0';
    const found = await redis.zrangebyscore(
      keys.ended,
      `(${cursor}`,
      '+inf',
      'WITHSCORES',
      'LIMIT',
      0,
      MAX_ENDS_PER_CALL,
    );
    const ends = Array.from({ length: found.length / 2 }, (_, at) => ({
      id: found[2 * at] ?? '',
      score: Number(found[2 * at + 1]),
    }));
    // Retention reads the cursor, also before the first end.
    if (ends.length === 0) {
      if (cursor === '0') await redis.hsetnx(keys.jobEnds, 'cursor', '0');
      return 0;
    }
    const notes = await this.#notesOf(ends.map(({ id }) => id));
    const spans = ends.map(({ id }, at) => beginEntry(id, notes[at]?.trace));
    const items = await Promise.all(
      ends.map(({ id, score }, at) =>
        this.#itemOf(id, score, { ...(notes[at] ?? NO_NOTES), trace: spans[at]?.traceparent ?? '' }, listeners).catch(
          (error: unknown) => {
            // One end that cannot be read holds up no other: only its place is recorded.
            this.#logger.error({ job: id }, `the end of a job cannot be recorded: ${messageOf(error).slice(0, 300)}`);
            return { subject: id, tenant: '-', end: emptyEnd(score), events: [] };
          },
        ),
      ),
    );
    crashPoint('courier.before-job-ends');
    await this.#enter(
      items.map(({ subject, tenant, end, events }) => ({ subject, tenant, end, events })),
      countedOf(items.flatMap((item) => ('ended' in item ? [item.ended] : []))),
    );
    crashPoint('courier.after-job-ends');
    for (const span of spans) span?.end();
    this.#tellEnds(items.flatMap((item) => ('ended' in item ? [item.ended.phases] : [])));
    if (this.#recentDurations.size > 0) {
      await redis.hset(
        keys.recentDuration,
        Object.fromEntries([...this.#recentDurations].map(([model, ms]) => [model, ms.toFixed(1)])),
      );
    }
    return ends.length;
  }

  /** What the service alone notes of these jobs. */
  async #notesOf(ids: readonly string[]): Promise<PrivateNotes[]> {
    const { redis, keys } = this.#parts;
    const asked = redis.pipeline();
    for (const id of ids) asked.hmget(keys.job(id), 'webhook', 'payment', 'batch', 'trace');
    return ((await asked.exec()) ?? []).map(([error, reply]) => {
      if (error) throw error;
      const [webhook, payment, batchLine, trace] = Array.isArray(reply) ? (reply as (string | null)[]) : [];
      return { webhook: webhook ?? '', payment: payment ?? '', batchLine: batchLine ?? '', trace: trace ?? '' };
    });
  }

  /** What `enter.lua` records of one end. */
  async #itemOf(id: string, score: number, notes: PrivateNotes, listeners: Listeners) {
    const view = await this.#reader.read(id);
    // Retention keeps what is not recorded yet. If the record is gone all the same, there is nothing to
    // record.
    if (view?.ending === undefined) return { subject: id, tenant: '-', end: emptyEnd(score), events: [] };
    const { tenant, model, end, durationMs } = outcomeOf(view, view.ending, notes, score);
    if (durationMs !== undefined) this.#noteDuration(model, durationMs);
    const endpoints = await listeners.of(tenant);
    // An address that was given with the job is told, whoever else listens.
    const isHeard = endpoints !== undefined || notes.webhook !== '';
    const events = isHeard ? feedEvents(id, jobEvents(view), endpoints ?? [], notes) : [];
    return { subject: id, tenant, end, events, ended: { view, phases: phasesOf(view, view.ending) } };
  }

  /** Counts what was entered, and says in one line how many ended and how. */
  #tellEnds(ends: readonly EndedPhases[]): void {
    if (ends.length === 0) return;
    const states = new Map<string, number>();
    for (const { state, waitMs, runMs, confirmMs } of ends) {
      count('countersign_job_ends_total', { state });
      states.set(state, (states.get(state) ?? 0) + 1);
      if (waitMs !== undefined) measure('countersign_job_wait_seconds', waitMs / 1_000);
      if (runMs !== undefined) measure('countersign_job_run_seconds', runMs / 1_000);
      if (confirmMs !== undefined) measure('countersign_job_confirm_seconds', confirmMs / 1_000);
    }
    this.#logger.info(Object.fromEntries(states), 'jobs have ended');
  }

  #noteDuration(model: string, durationMs: number): void {
    const average = recentAverage(this.#recentDurations.get(model), durationMs);
    if (average !== undefined) this.#recentDurations.set(model, average);
  }

  /** Records the events of batches that are over, and takes them off the list of open ones. */
  async #enterBatchEnds(listeners: Listeners): Promise<void> {
    const { batches } = this.#parts;
    const records = await Promise.all((await batches.open()).map((id) => batches.read(id)));
    const over = records.filter((batch) => batch !== undefined).filter(({ status }) => isOver(status));
    const items = await Promise.all(
      over.map(async (batch) => {
        const event = batchEvent(batch, batch[`${batch.status}Ms`] ?? Date.now());
        const endpoints = await listeners.of(batch.tenant);
        const events =
          event === undefined || endpoints === undefined ? [] : feedEvents(batch.id, [event], endpoints, NO_NOTES);
        return { subject: batch.id, tenant: batch.tenant, batch: true, events };
      }),
    );
    if (items.length > 0) await this.#enter(items);
  }

  /** Records events of open jobs that were woken. Returns whether there are more. */
  async #enterOpenEvents(listeners: Listeners): Promise<boolean> {
    if (this.#hints.size === 0) return false;
    const ids = [...this.#hints].slice(0, MAX_HINTS_PER_LOOK);
    for (const id of ids) this.#hints.delete(id);
    const views = await Promise.all(ids.map((id) => this.#reader.read(id)));
    const items = (await Promise.all(views.map((view) => this.#openItem(view, listeners)))).filter(
      (item) => item !== undefined,
    );
    if (items.length > 0) await this.#enter(items);
    return this.#hints.size > 0;
  }

  /** The events of a job whose end is not decided, if anybody is to hear of them. */
  async #openItem(view: JobView | undefined, listeners: Listeners) {
    if (view === undefined || view.ending !== undefined) return undefined;
    const { redis, keys } = this.#parts;
    const [webhook, trace] = await redis.hmget(keys.job(view.id), 'webhook', 'trace');
    const notes = { webhook: webhook ?? '', trace: trace ?? '' };
    const endpoints = await listeners.of(view.tenant);
    if (endpoints === undefined && notes.webhook === '') return undefined;
    return {
      subject: view.id,
      tenant: view.tenant,
      events: feedEvents(view.id, jobEvents(view), endpoints ?? [], notes),
    };
  }

  async #enter(items: readonly object[], counted: Counted = NOTHING_COUNTED): Promise<void> {
    const { redis, keys } = this.#parts;
    await ENTER.run(
      redis,
      [
        keys.jobEnds,
        keys.eventCursor,
        keys.webhookMessages,
        keys.batches,
        keys.webhookHealth,
        keys.webhookWaiting,
        keys.refutations,
      ],
      [
        keys.prefix,
        JSON.stringify(items),
        Date.now(),
        MAX_FEED_EVENTS,
        KEEP_USAGE_MS,
        KEEP_MESSAGES_MS,
        MAX_WAITING_OF_ENDPOINT,
        MAX_WAITING_OF_TENANT,
        new Date().toISOString(),
        JSON.stringify(counted),
        MAX_REFUTATIONS,
        COURIER_AWAY_MS,
        UNSTORED_MS,
      ],
    );
  }
}

/** Begins the span in which the end of a job is entered, where the job is traced. */
function beginEntry(id: string, trace: string | undefined): Span | undefined {
  const span = beginSpan('enter', 'enter', trace);
  span?.note({ 'countersign.job.id': id });
  return span;
}

/** What the dashboard counts of some ends. */
interface Counted {
  readonly tally: readonly TallyUpdate[];
  /** As JSON. */
  readonly refutations: readonly string[];
}

const NOTHING_COUNTED: Counted = { tally: [], refutations: [] };

function countedOf(ends: readonly { readonly view: JobView; readonly phases: EndedPhases }[]): Counted {
  const sums = new Sums();
  for (const { view, phases } of ends)
    sums.add(
      addedBy({ ...phases, model: view.model, closings: view.attempts.flatMap(({ closed }) => closed?.why ?? []) }),
    );
  return { tally: sums.take(Date.now()) ?? [], refutations: ends.flatMap(({ view }) => refutationsOf(view)) };
}

function refutationsOf({ id: job, tenant, model, state, attempts }: JobView): string[] {
  return attempts.flatMap(({ worker, closed }) => {
    if (closed?.why !== 'refuted') return [];
    const { atMs: at, detail } = closed;
    return [JSON.stringify({ job, tenant, model, worker, at, detail, state } satisfies Refutation)];
  });
}

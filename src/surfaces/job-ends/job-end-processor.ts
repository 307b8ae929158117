import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { isOver, type Batches } from '../batches/batch.store.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { isJobId } from '../../core/jobs/job-id.ts';
import { JobReader, type JobView } from '../../core/jobs/job.reader.ts';
import { dayOf, entry, monthOf } from '../ledger/ledger-entry.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { HeldPayment } from '../payments/payment.store.ts';
import { unitsOf } from '../payments/payment-terms.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { decodeStored } from '../../proof/receipts/dsse.ts';
import { Evidence, Verdict, type Ticket } from '../../proof/receipts/statements.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { KEEP_MESSAGES_MS, messagesOf, type Endpoint, type Webhooks } from '../webhooks/webhook.store.ts';
import { FINAL_EVENT_TYPES, batchEvent, jobEvents, type WebhookEvent } from '../webhooks/webhook-event.ts';

const ENTER = loadScript(new URL('./lua/enter.lua', import.meta.url));
const READ = loadScript(new URL('./lua/read-outcomes.lua', import.meta.url));

const LOOK_EVERY_MS = 100;
const BATCH = 200;
const HINTS = 500;
const FEED_LENGTH = 10_000;
const KEEP_USAGE_MS = 400 * 86_400_000;
const LEASE_MS = 5_000;
/** Weight of the newest job in how long one takes. */
const PACE_WEIGHT = 0.1;

type Row = readonly (string | null)[];

/** What entering the ends of jobs needs. */
export interface JobEndParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly webhooks: Webhooks;
  readonly batches: Batches;
}

/**
 * Enters the end of every job: usage, ledger, events, messages. It follows the order in which jobs ended by one
 * number, which is written with what is entered, so that a crash anywhere leaves a job entered once or not yet. Events of jobs that are
 * open are told from hints, and again from the documents when the job ends: a lost hint delays an event and loses none.
 *
 * One courier keeps the books at a time; two of them would only do the same twice.
 */
export class JobEndProcessor {
  readonly #parts: JobEndParts;
  readonly #reader: JobReader;
  readonly #logger: Logger;
  readonly #owner: string;
  readonly #looks: PeriodicTask;
  readonly #paces = new Map<string, number>();
  #hints: Map<string, string> | undefined;

  constructor(parts: JobEndParts, logger: Logger, owner: string) {
    this.#parts = parts;
    this.#reader = new JobReader(parts.redis, parts.keys, parts.keys.open);
    this.#logger = logger;
    this.#owner = owner;
    const warn = rateLimited(5_000, (error) => logger.warn(`usage: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#once(), warn, LOOK_EVERY_MS * 5);
  }

  start(): void {
    this.#looks.start();
  }

  async stop(): Promise<void> {
    await this.#looks.stop();
    const { redis, keys } = this.#parts;
    if ((await redis.get(keys.jobEndsLease).catch(() => undefined)) === this.#owner)
      await redis.unlink(keys.jobEndsLease).catch(() => undefined);
  }

  /** When to look again, ms. */
  async #once(): Promise<number> {
    const { redis, keys } = this.#parts;
    if ((await redis.set(keys.jobEndsLease, this.#owner, 'PX', LEASE_MS, 'NX')) !== 'OK') {
      if ((await redis.get(keys.jobEndsLease)) !== this.#owner) return LEASE_MS / 5;
      await redis.pexpire(keys.jobEndsLease, LEASE_MS);
    }
    const listeners = await this.#listeners();
    const ended = await this.#enterEnds(listeners);
    await this.#tellBatches(listeners);
    const hinted = await this.#tellOpen(listeners);
    return ended >= BATCH || hinted ? 0 : LOOK_EVERY_MS;
  }

  /** Tenants whose events somebody wants, and their endpoints. */
  async #listeners(): Promise<Map<string, Endpoint[]>> {
    const { redis, keys, webhooks } = this.#parts;
    const now = Date.now();
    const found = Object.entries(await redis.hgetall(keys.listeners));
    const gone = found.filter(([, untilMs]) => Number(untilMs) < now).map(([tenant]) => tenant);
    if (gone.length > 0) await redis.hdel(keys.listeners, ...gone);
    const tenants = found.map(([tenant]) => tenant).filter((tenant) => !gone.includes(tenant));
    return new Map(await Promise.all(tenants.map(async (tenant) => [tenant, await webhooks.list(tenant)] as const)));
  }

  /** How many jobs were looked at. */
  async #enterEnds(listeners: ReadonlyMap<string, Endpoint[]>): Promise<number> {
    const { redis, keys } = this.#parts;
    const cursor = (await redis.hget(keys.jobEnds, 'cursor')) ?? '0';
    const found = await redis.zrangebyscore(keys.ended, `(${cursor}`, '+inf', 'WITHSCORES', 'LIMIT', 0, BATCH);
    const ends = Array.from({ length: found.length / 2 }, (_, at) => ({
      id: found[2 * at] ?? '',
      score: Number(found[2 * at + 1]),
    }));
    // Retention asks where the books stand, also before there is anything to enter.
    if (ends.length === 0) {
      if (cursor === '0') await redis.hsetnx(keys.jobEnds, 'cursor', '0');
      return 0;
    }
    const reply = await READ.run(redis, [keys.open], [keys.prefix, ...ends.map(({ id }) => id)]);
    const rows = Array.isArray(reply) ? (reply as (Row | null)[]) : [];
    const items = await Promise.all(
      ends.map(async ({ id, score }, at) => this.#itemOf(id, score, rows[at] ?? undefined, listeners)),
    );
    crashPoint('courier.before-job-ends');
    await this.#enter(items);
    crashPoint('courier.after-job-ends');
    if (this.#paces.size > 0) {
      await redis.hset(
        keys.recentDuration,
        Object.fromEntries([...this.#paces].map(([model, ms]) => [model, ms.toFixed(1)])),
      );
    }
    return ends.length;
  }

  async #itemOf(id: string, score: number, row: Row | undefined, listeners: ReadonlyMap<string, Endpoint[]>) {
    // Retention does not take what is not entered; whatever else did leaves nothing to enter.
    if (row === undefined) return { subject: id, tenant: '-', end: emptyEnd(score), events: [] };
    const [
      tenant = '',
      model = '',
      key,
      created,
      hold,
      webhook,
      state,
      ended,
      claimed,
      evidenceText,
      ticket,
      verdict,
      payment,
    ] = row.map((cell) => cell ?? '');
    const evidence = evidenceText === '' ? undefined : predicateOf(evidenceText ?? '', Evidence);
    const [createdMs, endedMs] = [Number(created), Number(ended)];
    const name = (what: string) => `${key === '' ? '-' : (key ?? '-')} ${model} ${what}`;
    const price = ticket === '' ? undefined : predicateOf(ticket ?? '', undefined)?.price;
    const confirmed = verdict === '' ? undefined : predicateOf(verdict ?? '', Verdict);
    const used = confirmed?.usage ?? evidence?.usage;
    const charge =
      state === 'done' && price !== undefined && evidence !== undefined && confirmed !== undefined
        ? chargeOf(predicateOf(ticket ?? '', undefined) as Ticket['predicate'], evidence, confirmed)
        : 0;
    if (state === 'done') this.#notePace(model, endedMs - Number((claimed ?? '').split(' ')[2] ?? endedMs));
    const view = listeners.has(tenant) ? await this.#reader.read(id) : undefined;
    return {
      subject: id,
      tenant,
      end: {
        score,
        day: dayOf(endedMs),
        month: monthOf(createdMs),
        usage: {
          [name('jobs')]: 1,
          ...(state === 'done' ? { [name('done')]: 1 } : {}),
          ...(used === undefined
            ? {}
            : {
                [name('input_tokens')]: used.inputTokens,
                [name('output_tokens')]: used.outputTokens,
              }),
          ...(charge > 0 ? { [name('charged')]: charge } : {}),
        },
        ...(payment === '' ? {} : { payment: paymentDue(payment ?? '', state === 'done' ? charge : undefined) }),
        ...(price === undefined
          ? {}
          : {
              ledger: {
                kind: state === 'done' ? 'charge' : 'release',
                entry: JSON.stringify(
                  entry(endedMs, state === 'done' ? charge : Number(hold), key ?? '', model, price),
                ),
                hold: Number(hold),
                charge,
                key,
              },
            }),
      },
      events: view === undefined ? [] : told(jobEvents(view), listeners.get(tenant) ?? [], webhook),
    };
  }

  #notePace(model: string, ms: number): void {
    if (!Number.isFinite(ms) || ms < 0) return;
    const before = this.#paces.get(model);
    this.#paces.set(model, before === undefined ? ms : before + PACE_WEIGHT * (ms - before));
  }

  async #tellBatches(listeners: ReadonlyMap<string, Endpoint[]>): Promise<void> {
    const { batches } = this.#parts;
    const records = await Promise.all((await batches.open()).map((id) => batches.read(id)));
    const items = records.flatMap((batch) => {
      if (batch === undefined || !isOver(batch.status)) return [];
      const event = batchEvent(batch, batch[`${batch.status}Ms`] ?? Date.now());
      const endpoints = listeners.get(batch.tenant);
      return [
        {
          subject: batch.id,
          tenant: batch.tenant,
          batch: true,
          events: event === undefined || endpoints === undefined ? [] : told([event], endpoints, ''),
        },
      ];
    });
    if (items.length > 0) await this.#enter(items);
  }

  /** Whether there may be more to tell. */
  async #tellOpen(listeners: ReadonlyMap<string, Endpoint[]>): Promise<boolean> {
    const { redis, keys } = this.#parts;
    if (listeners.size === 0) {
      this.#hints = undefined;
      return false;
    }
    const streams = [keys.admittedWake, keys.workerWake, keys.attest];
    if (this.#hints === undefined) {
      const ends = await Promise.all(streams.map((stream) => redis.xrevrange(stream, '+', '-', 'COUNT', 1)));
      this.#hints = new Map(streams.map((stream, at) => [stream, ends[at]?.[0]?.[0] ?? '0-0']));
    }
    const reply = await redis.xread('COUNT', HINTS, 'STREAMS', ...this.#hints.keys(), ...this.#hints.values());
    const ids = new Set<string>();
    for (const [stream, entries] of reply ?? []) {
      for (const [entryId, fields] of entries) {
        this.#hints.set(stream, entryId);
        for (let at = 0; at + 1 < fields.length; at += 2)
          if (fields[at] === 'ids' || fields[at] === 'id')
            for (const id of (fields[at + 1] ?? '').split(' ')) if (isJobId(id)) ids.add(id);
      }
    }
    if (ids.size === 0) return false;
    const views = await Promise.all([...ids].map((id) => this.#reader.read(id)));
    const wanted = views.filter(
      (view): view is JobView => view !== undefined && view.ending === undefined && listeners.has(view.tenant),
    );
    const items = await Promise.all(
      wanted.map(async (view) => ({
        subject: view.id,
        tenant: view.tenant,
        events: told(
          jobEvents(view),
          listeners.get(view.tenant) ?? [],
          (await redis.hget(keys.ticket(view.id), 'webhook')) ?? '',
        ),
      })),
    );
    if (items.length > 0) await this.#enter(items);
    return ids.size >= HINTS;
  }

  async #enter(items: readonly object[]): Promise<void> {
    const { redis, keys } = this.#parts;
    await ENTER.run(
      redis,
      [keys.jobEnds, keys.eventCursor, keys.webhookMessages, keys.batches],
      [keys.prefix, JSON.stringify(items), Date.now(), FEED_LENGTH, KEEP_USAGE_MS, KEEP_MESSAGES_MS],
    );
  }
}

/** The record of a payment at the end of its job: of what the job came to, or of nothing where it is not done. */
function paymentDue(held: string, charge: number | undefined) {
  const { payload, requirements, unitsPerMillionth, payer, untilMs } = HeldPayment.parse(JSON.parse(held));
  const amount = charge === undefined ? '0' : unitsOf({ unitsPerMillionth }, charge);
  const asked = JSON.stringify({ ...requirements, amount });
  if (amount === '0') return { state: charge === undefined ? 'released' : 'settled', payer, requirements: asked };
  return { state: 'due', payer, requirements: asked, payload: JSON.stringify(payload), until: String(untilMs) };
}

function told(events: readonly WebhookEvent[], endpoints: readonly Endpoint[], webhook: string | undefined) {
  const own =
    webhook === undefined || webhook === ''
      ? undefined
      : (JSON.parse(webhook) as { url: string; events?: readonly string[] });
  return events.map((event) => ({
    rank: event.rank,
    type: event.type,
    data: event.body,
    messages: messagesOf(event, endpoints, own && { url: own.url, events: own.events ?? FINAL_EVENT_TYPES }),
  }));
}

function emptyEnd(score: number) {
  const now = Date.now();
  return { score, day: dayOf(now), month: monthOf(now), usage: {} };
}

/** The predicate of a stored statement; the API's and the attestor's own are believed in their form. */
function predicateOf(stored: string, schema: undefined): Ticket['predicate'] | undefined;
function predicateOf(stored: string, schema: typeof Evidence): Evidence['predicate'] | undefined;
function predicateOf(stored: string, schema: typeof Verdict): Verdict['predicate'] | undefined;
function predicateOf(stored: string, schema: typeof Evidence | typeof Verdict | undefined): unknown {
  const signed = decodeStored(Buffer.from(stored));
  if (signed === undefined) return undefined;
  const json: unknown = JSON.parse(signed.payload.toString('utf8'));
  if (schema === undefined) return (json as Ticket).predicate;
  const parsed = schema.safeParse(json);
  return parsed.success ? parsed.data.predicate : undefined;
}

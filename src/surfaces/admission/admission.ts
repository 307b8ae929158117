import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { costOf } from '../../proof/tasks/cost.ts';
import { DUE_PLACE, FAIR_PLACE, LANES, LATER, TURNS } from '../../core/backlog/lua-parts.ts';
import type { Backlog } from '../../core/backlog/backlog.ts';
import { Appointments } from '../../core/forecast/appointments.ts';
import { toldOf, type Place } from '../../core/forecast/offer.ts';
import type { Forecast, Outlooks } from '../../core/forecast/outlooks.ts';
import type { Told } from '../../core/forecast/told.ts';
import { PERIOD, RESERVE } from '../../core/jobs/reserve.ts';
import { newJobId } from '../../core/jobs/job-id.ts';
import type { JobReader, JobView } from '../../core/jobs/job.reader.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { isOutOfMemory, storageFull, type StorageGate } from '../../ground/redis/storage-gate.ts';
import { INLINE_BYTES } from '../../proof/tasks/task-input.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { PriceTable } from '../ledger/price-table.ts';
import type { Catalog } from '../../core/catalog/catalog.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes, type ShownMemory } from '../../proof/receipts/statements.ts';
import type { Durability } from '../../ground/redis/durability.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import { RedisClock } from '../../ground/redis/redis-clock.ts';
import { checkUrl, type EgressRules } from '../webhooks/egress.ts';
import { FINAL_EVENT_TYPES } from '../webhooks/webhook-event.ts';
import type { Webhooks } from '../webhooks/webhook.store.ts';
import { listOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { parseReply, refusalOf, type AdmitReply, type LateReply } from './admit-reply.ts';
import { beginAdmission, endAdmissions } from './admission-span.ts';
import { AttestationOffer } from './attestation-offer.ts';
import { lateRefusal } from './late-refusal.ts';
import { NOTHING_ASKED, limitsAsked, type LimitsAsked } from './limits-asked.ts';
import { jobTimes } from './job-times.ts';
import { queuedView, scriptArguments, type PendingJob, type PendingRequest, type Submitter } from './pending-job.ts';
import { newTicket, planJob, type Plan } from './job-plan.ts';
import type { BandName } from '../../proof/contract/bands.ts';
import { DEFAULTS, type SubmitJob } from '../../proof/contract/submit-job.ts';

const ALLOWANCE = new URL('../tenants/lua/allowance.lua', import.meta.url);
const ADMIT = loadScript(new URL('./lua/admit.lua', import.meta.url), listOf(parseReply), {
  included: [LANES, TURNS, FAIR_PLACE, LATER, DUE_PLACE, RESERVE, PERIOD, ALLOWANCE],
});

export const IDEMPOTENCY_MS = 86_400_000;
/**
 * Stands under an idempotency key that made no job and is to make none: the digest of no body, and no job.
 */
const CLOSED = `${'0'.repeat(64)} closed`;
/** Requests admitted by one call of the script. */
const MAX_REQUESTS_PER_CALL = 64;

export interface SubmitOptions {
  /** The same key with the same body returns the same job. */
  readonly idempotencyKey?: string | undefined;
  /** For how long; a day unless it is said. */
  readonly idempotencyMs?: number;
  /** The whole request, where it says more than the job that is made of it. */
  readonly request?: string | undefined;
  /** Background work has a turn of its own, so that a tenant's interactive jobs do not queue behind it. */
  readonly isBackground?: boolean;
  /** What the surface that takes the job keeps with it. */
  readonly surface?: string;
  /** For each job of the request, the memories that stand before its question. */
  readonly memories?: readonly (readonly ShownMemory[])[];
  /** The line of a batch that needs the job: `<batch> <line> <part>`. */
  readonly batchLine?: string;
  /** A payment for this job alone, as it is kept until the end of the job. */
  readonly payment?: {
    readonly record: string;
    /** The whole price is paid, however much of it is used. */
    readonly isFixed: boolean;
    /** A job was accepted for it before: it makes no other. */
    readonly isKnown: boolean;
    /** What a repetition must know besides the job. */
    readonly secret: string;
  };
}

/** An accepted job: its id, and its state if this call made it. */
export interface Admitted {
  readonly id: string;
  readonly fresh: JobView | undefined;
  /** Its place and what can be told of it, if this call made it, it has one, and workers are there. */
  readonly outlook: { readonly place: Place; readonly told: Told } | undefined;
}

/**
 * Accepts jobs: signs the ticket, stores it with its idempotency key and its place in the backlog in one
 * step, and releases what there is room for in the same round trip. A job is accepted once the ticket is
 * stored; whatever crashes then, it waits in the backlog or is known to have been released. Any number of
 * calls may run at once; those of one turn of the event loop share a round trip.
 */
export class Admission {
  readonly #parts: AdmissionParts;
  readonly #coalescer: Coalescer<PendingRequest, AdmitReply>;
  readonly #offer: AttestationOffer;
  readonly #appointments = new Appointments();
  readonly #clock: RedisClock;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#offer = new AttestationOffer(parts.redis, parts.keys);
    this.#clock = new RedisClock(parts.redis);
    this.#coalescer = new Coalescer(MAX_REQUESTS_PER_CALL, (requests) => this.#admit(requests));
  }

  /** As `submitAll`, for one job. */
  async submit(submitter: Submitter, body: SubmitJob, options: SubmitOptions = {}): Promise<Admitted> {
    const [admitted] = await this.submitAll(submitter, [body], options);
    if (admitted === undefined) throw new Error('A request of one job has one job.');
    return admitted;
  }

  /**
   * The accepted jobs of one request, all of them or none; the same ones again for the same idempotency key
   * and bodies. New jobs are returned as they stand, so that no caller has to read them back. Throws
   * CodedErrors that leave no trace: `model_not_found`, `task_not_supported`, `feature_not_supported`,
   * `attestation_unavailable`, `body_too_large`, `webhook_refused`, `idempotency_key_reused`,
   * `job_forgotten`, `rate_limited`, `request_exceeds_limit`, `spend_exceeded`, `spend_held`,
   * `payment_used`, `share_exceeded`, `attestation_backlog`, `deadline_unreachable`, `pool_draining`,
   * `storage_full`; and
   * `not_durable`, after which the jobs may be there all the same.
   */
  async submitAll(
    submitter: Submitter,
    bodies: readonly SubmitJob[],
    options: SubmitOptions = {},
  ): Promise<Admitted[]> {
    const { idempotencyKey, idempotencyMs = IDEMPOTENCY_MS, payment, isBackground = false } = options;
    const flow = flowOf(submitter, options);
    await this.#requireRoom(submitter.tenant, idempotencyKey);
    for (const { webhook } of bodies) if (webhook !== undefined) checkUrl(webhook.url, this.#parts.egress);
    const plans = await Promise.all(
      bodies.map(async (body) => {
        const planned = await this.plan(body);
        return payment?.isFixed === true ? withFixedPrice(planned) : planned;
      }),
    );
    const wanted = plans.map(({ price, params, inputBytes }, at) => ({
      price,
      inputBytes,
      outputTokens: bodies[at]?.task === 'embedding' ? 0 : params.max_tokens,
    }));
    const { ask, reserves } = limitsAsked(submitter, wanted, isBackground);
    const jobs = await Promise.all(
      plans.map((plan, at) => this.#pending(submitter, { plan, body: bodies[at], at, reserve: reserves[at] }, options)),
    );
    const asked: LimitsAsked | undefined =
      payment?.isKnown === true ? { ...(ask ?? NOTHING_ASKED), isKnown: true } : ask;
    const reply = await this.#coalescer
      .add({ submitter, flow, surface: options.surface, ask: asked, idempotencyMs, jobs })
      .catch((error: unknown) => {
        endAdmissions(jobs, 'failed');
        throw error;
      });
    endAdmissions(jobs, reply.kind);
    const accepted = 'jobs' in reply ? reply.jobs : [];
    // What is not accepted leaves no input behind; after a lost reply, `same` can be these very jobs.
    await Promise.all(
      jobs.map(async ({ id, model, inlineInput }) => {
        if (inlineInput !== '' || accepted.some((one) => one.id === id)) return;
        await this.#parts.blobs.ofPool(model.pool).of(id).remove();
      }),
    );
    if (reply.kind === 'late') throw this.#late(reply, jobs, flow);
    if (!('jobs' in reply)) throw refusalOf(reply, currencyOf(plans));
    if (reply.kind === 'ok') this.#parts.onAccepted?.(reply.jobs.filter(({ id }, at) => id === jobs[at]?.id).length);
    return Promise.all(
      reply.jobs.map(async (one, at) => {
        const job = jobs[at];
        if (reply.kind === 'ok' && one.id === job?.id)
          return {
            id: one.id,
            fresh: queuedView(job, submitter, options.surface),
            outlook: outlookOf(job.forecast, one.place),
          };
        if ((await this.#parts.reader.read(one.id)) === undefined) throw forgotten(one);
        return { id: one.id, fresh: undefined, outlook: undefined };
      }),
    );
  }

  /** The refusal of a request one of whose jobs would begin too late. */
  #late({ number, standing }: LateReply, jobs: readonly PendingJob[], flow: string): CodedError {
    const job = jobs[number - 1];
    if (job === undefined) throw new Error(`A request of ${jobs.length} jobs has no job ${number}.`);
    return lateRefusal({ ...job, flow }, standing, this.#appointments);
  }

  /** The signed job at this place of a request, its input stored where it is large. */
  async #pending(submitter: Submitter, wanted: Wanted, options: SubmitOptions): Promise<PendingJob> {
    const { plan, body, at, reserve = '' } = wanted;
    if (body === undefined) throw new Error('Each plan is of a body.');
    const { tenant } = submitter;
    const { model, attempts, input, inputBytes, price } = plan;
    const inline = inputBytes <= INLINE_BYTES;
    // Attestors, witnesses and deadlines go by other clocks than this machine's.
    const createdMs = await this.#clock.nowMs();
    const { deadlineMs, notBeforeMs } = jobTimes(body, createdMs);
    const id = newJobId(model.pool, createdMs);
    const blobs = this.#parts.blobs.ofPool(model.pool).of(id);
    const inputSha256 = inline ? sha256Hex(input) : await blobs.put(Buffer.from(input));
    const memories = options.memories?.[at];
    const ticket = newTicket(plan, { id, tenant, task: body.task, inputSha256, createdMs, deadlineMs, memories });
    crashPoint('api.before-admit');
    const idempotencyKey = keyOfJob(options.idempotencyKey, at);
    const band = bandOf(body, options);
    const extra = await this.#extra(tenant, body, options);
    const span = beginAdmission({ id, tenant, createdMs }, model);
    return {
      id,
      model,
      forecast: this.#parts.outlooks.forecast(model, {
        size: { task: body.task, maxTokens: plan.params.max_tokens, inputBytes },
        flow: flowOf(submitter, options),
        band,
        weight: submitter.limits.tenant.weight ?? 1,
        timeMs: deadlineMs - (notBeforeMs ?? createdMs),
        isLater: notBeforeMs !== undefined,
      }),
      ticket: encodeStored(signPayload(this.#parts.signingKey, statementBytes(ticket))),
      inlineInput: inline ? input : '',
      createdMs,
      deadlineMs,
      notBeforeMs,
      priority: body.priority ?? DEFAULTS.priority,
      band,
      attempts,
      cost: costOf(ticket.predicate),
      isStored: body.store !== false,
      extra: textOf({ ...extra, ...(span === undefined ? {} : { trace: span.traceparent }) }),
      span,
      price,
      reserve,
      idempotencyKey: idempotencyKey === undefined ? '' : sha256Hex(idempotencyKey),
      // The members of a parsed body are in the schema's order, whatever order they were sent in.
      bodyDigest:
        idempotencyKey === undefined
          ? ''
          : sha256Hex((options.request ?? JSON.stringify(body)) + (options.payment?.secret ?? '')),
    };
  }

  /**
   * What the job would be, checked like a real one. Stores nothing and takes nothing from any limit. Throws
   * what `submit` throws, except for limits, webhooks and idempotency keys.
   */
  plan(body: SubmitJob): Promise<Plan> {
    return planJob({ ...this.#parts, offer: this.#offer, clock: this.#clock }, body);
  }

  /** The time (ms) by which jobs are dated. */
  nowMs(): Promise<number> {
    return this.#clock.nowMs();
  }

  /** Where there is no room for another job, one that was accepted already is still found. */
  async #requireRoom(tenant: string, idempotencyKey: string | undefined): Promise<void> {
    const { gate } = this.#parts;
    if (!(await gate.isFull())) return;
    if (idempotencyKey === undefined || !(await this.knows(tenant, idempotencyKey))) await gate.requireRoom();
  }

  /** Whether a job was accepted under this key within the last day. */
  async knows(tenant: string, idempotencyKey: string): Promise<boolean> {
    const { redis, keys } = this.#parts;
    return (await redis.exists(keys.idempotency(tenant, sha256Hex(idempotencyKey)))) === 1;
  }

  /** The job that was accepted under this key within the last day, if one was. */
  async jobOf(tenant: string, idempotencyKey: string): Promise<string | undefined> {
    const { redis, keys } = this.#parts;
    return (await redis.get(keys.idempotency(tenant, sha256Hex(idempotencyKey))))?.split(' ')[1];
  }

  /**
   * The jobs that were accepted under these keys and are known by them, undefined for a key that made none:
   * under such a key none is made for so long (ms) from now on, whoever asks. One step for each key.
   */
  async closeKeys(tenant: string, idempotencyKeys: readonly string[], ms: number): Promise<(string | undefined)[]> {
    const { redis, keys } = this.#parts;
    const asked = redis.pipeline();
    for (const key of idempotencyKeys)
      asked.set(keys.idempotency(tenant, sha256Hex(key)), CLOSED, 'PX', ms, 'NX', 'GET');
    return ((await asked.exec()) ?? []).map(([error, seen]) => {
      if (error) throw error;
      return typeof seen === 'string' && seen !== CLOSED ? seen.split(' ')[1] : undefined;
    });
  }

  /** What else the service notes of the job. */
  async #extra(
    tenant: string,
    { webhook, store }: SubmitJob,
    { surface, payment, batchLine }: SubmitOptions,
  ): Promise<Record<string, string>> {
    const kept = {
      ...(surface === undefined ? {} : { surface }),
      ...(payment === undefined ? {} : { payment: payment.record }),
      ...(batchLine === undefined ? {} : { batch: batchLine }),
      ...(store === false ? { store: 'no' } : {}),
    };
    if (webhook === undefined) return kept;
    const url = checkUrl(webhook.url, this.#parts.egress).href;
    await this.#parts.webhooks.listen(tenant);
    return { ...kept, webhook: JSON.stringify({ url, events: webhook.events ?? FINAL_EVENT_TYPES }) };
  }

  /** Admits all of them in one step, and releases as many as there is room for behind it. */
  async #admit(requests: PendingRequest[]): Promise<AdmitReply[]> {
    const { redis, keys, backlog, durability } = this.#parts;
    const queues = new Set(requests.flatMap(({ jobs }) => jobs.map(({ model }) => queueName(model.pool, model.name))));
    // These jobs are accepted, whatever becomes of the release; the next tick of any process makes up for it.
    const [admitted, released] = await Promise.allSettled([
      ADMIT.run(redis, [keys.open], [keys.prefix, ...requests.flatMap(scriptArguments)]),
      backlog.take([...queues]),
    ]);
    crashPoint('api.after-admit');
    if (released.status === 'fulfilled') await backlog.deliver(released.value);
    crashPoint('api.after-add');
    if (admitted.status === 'rejected')
      throw isOutOfMemory(admitted.reason) ? storageFull(admitted.reason) : admitted.reason;
    await durability.settled(redis);
    return admitted.value;
  }
}

/** A job of a request before it is signed, its place in the request, and what is to be reserved for it. */
interface Wanted {
  readonly plan: Plan;
  readonly body: SubmitJob | undefined;
  readonly at: number;
  readonly reserve: string | undefined;
}

/** What admission needs. */
interface AdmissionParts {
  readonly webhooks: Webhooks;
  readonly egress: EgressRules;
  readonly prices: PriceTable;
  readonly redis: Redis;
  readonly durability: Durability;
  readonly keys: RedisKeys;
  readonly gate: StorageGate;
  readonly backlog: Backlog;
  readonly outlooks: Outlooks;
  readonly reader: JobReader;
  readonly blobs: BlobFolders;
  readonly catalog: Catalog;
  readonly signingKey: SigningKey;
  readonly defaultRecompute: number;
  /** Hears how many jobs were accepted anew. */
  readonly onAccepted?: (jobs: number) => void;
}

/** As JSON; empty where nothing is noted. */
function textOf(noted: Readonly<Record<string, string>>): string {
  return Object.keys(noted).length === 0 ? '' : JSON.stringify(noted);
}

/** Each job of a request has a key of its own: the first the one that was sent. */
function keyOfJob(key: string | undefined, at: number): string | undefined {
  return key === undefined || at === 0 ? key : `${key} ${at}`;
}

/** All prices of a request are of one table. */
function currencyOf(plans: readonly Plan[]): string {
  return plans.find(({ price }) => price !== undefined)?.price?.currency ?? '';
}

/** Who pays for the places of a request's jobs. */
function flowOf({ tenant }: Submitter, { isBackground = false }: SubmitOptions): string {
  return isBackground ? `${tenant}~batch` : tenant;
}

/** The band that a job waits in: what it asks for, and of background work always that of batches. */
function bandOf({ band }: SubmitJob, { isBackground = false }: SubmitOptions): BandName {
  return isBackground ? 'batch' : (band ?? DEFAULTS.band);
}

/** What can be told of a job at its place; nothing where no worker is there. */
function outlookOf({ offer, slots }: Forecast, place: Place | undefined): Admitted['outlook'] {
  return place === undefined || slots === 0 ? undefined : { place, told: toldOf(offer, place) };
}

/** The same plan, whose whole price is charged however much is used. */
function withFixedPrice(plan: Plan): Plan {
  return plan.price === undefined ? plan : { ...plan, price: { ...plan.price, fixed: true } };
}

/** Of an idempotency key whose job is kept nowhere any more: what is still known of it. */
function forgotten({ id, ended }: { readonly id: string; readonly ended: string }): CodedError {
  const end = ended === '' ? 'has ended' : `has ended as ${ended}`;
  return new CodedError(
    'job_forgotten',
    `This Idempotency-Key made the job ${id}, which ${end} and is no longer kept.`,
    {
      hint: 'use a new key for a new job',
      headers: { 'countersign-job': id, ...(ended === '' ? {} : { 'countersign-state': ended }) },
    },
  );
}

import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { costOf } from '../../proof/tasks/cost.ts';
import { FAIR_PLACE } from '../../core/backlog/lua-parts.ts';
import type { Backlog } from '../../core/backlog/backlog.ts';
import { newJobId } from '../../core/jobs/job-id.ts';
import type { JobReader, JobView } from '../../core/jobs/job.reader.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { isOutOfMemory, storageFull, type StorageGate } from '../../ground/redis/storage-gate.ts';
import { INLINE_BYTES } from '../../proof/tasks/task-input.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { PriceTable } from '../ledger/price-table.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { RateLimits } from '../tenants/rate-limits.ts';
import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes, type Price } from '../../proof/receipts/statements.ts';
import { holdEntry, monthOf } from '../ledger/ledger-entry.ts';
import type { Durability } from '../../ground/redis/durability.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import { checkUrl, type EgressRules } from '../webhooks/egress.ts';
import { FINAL_EVENT_TYPES } from '../webhooks/webhook-event.ts';
import type { Webhooks } from '../webhooks/webhook.store.ts';
import { cells, described, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { AttestationOffer } from './attestation-offer.ts';
import { newTicket, planJob, type Plan } from './job-plan.ts';
import { DEFAULTS, type SubmitJob } from '../../proof/contract/submit-job.ts';

const ADMIT = loadScript(new URL('./lua/admit.lua', import.meta.url), listOf(parseReply), { included: [FAIR_PLACE] });

export const IDEMPOTENCY_MS = 86_400_000;
/**
 * Stands under an idempotency key that made no job and is to make none: the digest of no body, and no job.
 */
const CLOSED = `${'0'.repeat(64)} closed`;
/** Jobs admitted by one call of the script. */
const MAX_JOBS_PER_CALL = 64;

/** A job that is signed and not yet accepted. */
interface PendingJob {
  readonly id: string;
  readonly tenant: string;
  /** Jobs of the same flow share one turn in the backlog. */
  readonly flow: string;
  readonly model: CatalogModel;
  readonly ticket: string;
  readonly inlineInput: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly attempts: number;
  readonly cost: number;
  readonly idempotencyKey: string;
  readonly bodyDigest: string;
  readonly submitter: Submitter;
  readonly surface: string | undefined;
  /** False where the job erases itself a while after its end. */
  readonly isStored: boolean;
  /** More fields of the job's hash, as JSON. */
  readonly extra: string;
  readonly price: Price | undefined;
}

/** The tenant and the key that a job is admitted for. */
export type Submitter = Pick<Caller, 'tenant' | 'keyId' | 'limits'>;

export interface SubmitOptions {
  /** The same key with the same body returns the same job. */
  readonly idempotencyKey?: string | undefined;
  /** The whole request, where it says more than the job that is made of it. */
  readonly request?: string | undefined;
  /** Background work has a turn of its own, so that a tenant's interactive jobs do not queue behind it. */
  readonly isBackground?: boolean;
  /** What the surface that takes the job keeps with it. */
  readonly surface?: string;
  /** The line of a batch that needs the job: `<batch> <line> <part>`. */
  readonly batchLine?: string;
  /** A payment for this job alone, as it is kept until the end of the job. */
  readonly payment?: {
    readonly record: string;
    /** The whole price is paid, however much of it is used. */
    readonly isFixed: boolean;
    /** What a repetition must know besides the job. */
    readonly secret: string;
  };
}

/** An accepted job: its id, and its state if this call made it. */
export interface Admitted {
  readonly id: string;
  readonly fresh: JobView | undefined;
}

type AdmitReply =
  | { readonly kind: 'ok' | 'same' | 'other'; readonly id: string; readonly ended: string }
  | { readonly kind: 'busy' | 'spent'; readonly count: number };

/**
 * Accepts jobs: signs the ticket, stores it with its idempotency key and its place in the backlog in one
 * step, and releases what there is room for in the same round trip. A job is accepted once the ticket is
 * stored; whatever crashes then, it waits in the backlog or is known to have been released. Any number of
 * calls may run at once; those of one turn of the event loop share a round trip.
 */
export class Admission {
  readonly #parts: AdmissionParts;
  readonly #coalescer: Coalescer<PendingJob, AdmitReply>;
  readonly #offer: AttestationOffer;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#offer = new AttestationOffer(parts.redis, parts.keys);
    this.#coalescer = new Coalescer(MAX_JOBS_PER_CALL, (jobs) => this.#admit(jobs));
  }

  /**
   * The accepted job; the same one again for the same idempotency key and body. A new job is returned as it
   * stands, so that no caller has to read it back. Throws CodedErrors that leave no trace: `model_not_found`,
   * `task_not_supported`, `feature_not_supported`, `attestation_unavailable`, `body_too_large`,
   * `webhook_refused`, `idempotency_key_reused`, `job_forgotten`, `rate_limited`, `spend_exceeded`,
   * `storage_full`; and `not_durable`, after which the job may be there all the same.
   */
  async submit(submitter: Submitter, body: SubmitJob, options: SubmitOptions = {}): Promise<Admitted> {
    const { tenant } = submitter;
    const { idempotencyKey, payment } = options;
    await this.#requireRoom(tenant, idempotencyKey);
    if (body.webhook !== undefined) checkUrl(body.webhook.url, this.#parts.egress);
    const planned = await this.plan(body);
    const plan = payment?.isFixed === true ? withFixedPrice(planned) : planned;
    const { model, params, attempts, input, inputBytes, price } = plan;
    // Allowances are taken for what may be used. A repetition under the same key takes them again.
    await this.#parts.limits.take(submitter, 'tokens', Math.ceil(inputBytes / 4) + params.max_tokens);
    const inline = inputBytes <= INLINE_BYTES;
    const createdMs = Date.now();
    const deadlineMs = createdMs + (body.deadline_ms ?? DEFAULTS.deadlineMs);
    const id = newJobId(model.pool, createdMs);
    const blobs = this.#parts.blobs.ofPool(model.pool).of(id);
    const inputSha256 = inline ? sha256Hex(input) : await blobs.put(Buffer.from(input));
    const ticket = newTicket(plan, { id, tenant, task: body.task, inputSha256, createdMs, deadlineMs });
    crashPoint('api.before-admit');
    const pending: PendingJob = {
      id,
      submitter,
      tenant,
      model,
      flow: options.isBackground === true ? `${tenant}~batch` : tenant,
      ticket: encodeStored(signPayload(this.#parts.signingKey, statementBytes(ticket))),
      inlineInput: inline ? input : '',
      createdMs,
      deadlineMs,
      attempts,
      cost: costOf(ticket.predicate),
      surface: options.surface,
      isStored: body.store !== false,
      extra: await this.#extra(tenant, body, options),
      price,
      idempotencyKey: idempotencyKey === undefined ? '' : sha256Hex(idempotencyKey),
      // The members of a parsed body are in the schema's order, whatever order they were sent in.
      bodyDigest:
        idempotencyKey === undefined
          ? ''
          : sha256Hex((options.request ?? JSON.stringify(body)) + (payment?.secret ?? '')),
    };
    const reply = await this.#coalescer.add(pending);
    const isNew = reply.kind === 'ok' && reply.id === id;
    // What is not accepted leaves no input behind; after a lost reply, `same` can be this very job.
    if (!inline && !('id' in reply && reply.id === id)) await blobs.remove();
    requireAccepted(reply, price);
    if (!isNew && (await this.#parts.reader.read(reply.id)) === undefined) throw forgotten(reply);
    return { id: reply.id, fresh: isNew ? queuedView(pending) : undefined };
  }

  /**
   * What the job would be, checked like a real one. Stores nothing and takes nothing from any limit. Throws
   * what `submit` throws, except for limits, webhooks and idempotency keys.
   */
  plan(body: SubmitJob): Promise<Plan> {
    return planJob({ ...this.#parts, offer: this.#offer }, body);
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
   * The jobs that were accepted under these keys within the last day, undefined for a key that made none:
   * under such a key none is made for a day from now on, whoever asks. One step for each key.
   */
  async closeKeys(tenant: string, idempotencyKeys: readonly string[]): Promise<(string | undefined)[]> {
    const { redis, keys } = this.#parts;
    const asked = redis.pipeline();
    for (const key of idempotencyKeys)
      asked.set(keys.idempotency(tenant, sha256Hex(key)), CLOSED, 'PX', IDEMPOTENCY_MS, 'NX', 'GET');
    return ((await asked.exec()) ?? []).map(([error, seen]) => {
      if (error) throw error;
      return typeof seen === 'string' && seen !== CLOSED ? seen.split(' ')[1] : undefined;
    });
  }

  /** What else the service notes of the job, as JSON; empty if there is nothing. */
  async #extra(
    tenant: string,
    { webhook, store }: SubmitJob,
    { surface, payment, batchLine }: SubmitOptions,
  ): Promise<string> {
    const kept = {
      ...(surface === undefined ? {} : { surface }),
      ...(payment === undefined ? {} : { payment: payment.record }),
      ...(batchLine === undefined ? {} : { batch: batchLine }),
      ...(store === false ? { store: 'no' } : {}),
    };
    if (webhook === undefined) return Object.keys(kept).length === 0 ? '' : JSON.stringify(kept);
    const url = checkUrl(webhook.url, this.#parts.egress).href;
    await this.#parts.webhooks.listen(tenant);
    return JSON.stringify({ ...kept, webhook: JSON.stringify({ url, events: webhook.events ?? FINAL_EVENT_TYPES }) });
  }

  /** Admits all of them in one step, and releases as many as there is room for behind it. */
  async #admit(jobs: PendingJob[]): Promise<AdmitReply[]> {
    const { redis, keys, backlog, durability } = this.#parts;
    const queues = [...new Set(jobs.map(({ model }) => queueName(model.pool, model.name)))];
    // These jobs are accepted, whatever becomes of the release; the next tick of any process makes up for it.
    const [admitted, released] = await Promise.allSettled([
      ADMIT.run(redis, [keys.open], [keys.prefix, IDEMPOTENCY_MS, ...jobs.flatMap(scriptArguments)]),
      backlog.take(queues),
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

/** What admission needs. */
interface AdmissionParts {
  readonly webhooks: Webhooks;
  readonly egress: EgressRules;
  readonly prices: PriceTable;
  readonly limits: RateLimits;
  readonly redis: Redis;
  readonly durability: Durability;
  readonly keys: RedisKeys;
  readonly gate: StorageGate;
  readonly backlog: Backlog;
  readonly reader: JobReader;
  readonly blobs: BlobFolders;
  readonly catalog: Catalog;
  readonly signingKey: SigningKey;
  readonly defaultRecompute: number;
}

/** The arguments of one job, in the order that `admit.lua` names. */
function scriptArguments(job: PendingJob): (string | number)[] {
  return [
    job.id,
    job.ticket,
    job.inlineInput,
    job.tenant,
    job.flow,
    job.model.name,
    queueName(job.model.pool, job.model.name),
    job.createdMs,
    job.deadlineMs,
    job.attempts,
    job.cost,
    job.idempotencyKey,
    job.bodyDigest,
    job.submitter.keyId,
    job.extra,
    job.submitter.limits.tenant.concurrent_jobs ?? 0,
    job.price?.hold ?? 0,
    job.submitter.limits.tenant.spend ?? '',
    job.submitter.limits.key.spend ?? '',
    job.price === undefined ? '' : monthOf(job.createdMs),
    job.price === undefined
      ? ''
      : JSON.stringify(holdEntry(job.createdMs, job.submitter.keyId, job.model.name, job.price)),
  ];
}

/** The same plan, whose whole price is charged however much is used. */
function withFixedPrice(plan: Plan): Plan {
  return plan.price === undefined ? plan : { ...plan, price: { ...plan.price, fixed: true } };
}

/** The job as it stands right after its admission. */
function queuedView(job: PendingJob): JobView {
  const { id, tenant, model, createdMs, deadlineMs, attempts, ticket } = job;
  return {
    id,
    tenant,
    model: model.name,
    queue: queueName(model.pool, model.name),
    createdMs,
    deadlineMs,
    maxAttempts: attempts,
    cancelAskedMs: undefined,
    ticket,
    keyId: job.submitter.keyId,
    hold: job.price?.hold,
    surface: job.surface,
    isStored: job.isStored,
    attempts: [],
    ending: undefined,
    state: 'queued',
    record: undefined,
    erased: undefined,
  };
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

/** Throws the CodedError of a refusal: `idempotency_key_reused`, `rate_limited`, `spend_exceeded`. */
function requireAccepted(
  reply: AdmitReply,
  price: Price | undefined,
): asserts reply is AdmitReply & { readonly id: string; readonly ended: string } {
  switch (reply.kind) {
    case 'other':
      throw new CodedError(
        'idempotency_key_reused',
        'This Idempotency-Key was used with another body; use a new key for a new job.',
      );
    case 'busy':
      throw new CodedError('rate_limited', `${reply.count} of your jobs are open, and no more are allowed at once.`, {
        headers: { 'retry-after': '2' },
      });
    case 'spent':
      throw new CodedError(
        'spend_exceeded',
        `This job may cost ${price?.hold ?? 0} millionths of a ${price?.currency ?? 'unit'}, and ${Math.max(0, reply.count)} are left of the limit.`,
      );
    default:
  }
}

function parseReply(reply: unknown): AdmitReply {
  const [kind, value, ended] = cells(reply);
  if (kind === 'busy' || kind === 'spent') return { kind, count: Number(text(value)) };
  if (kind === 'ok' || kind === 'same' || kind === 'other')
    return { kind, id: text(value), ended: ended === undefined ? '' : text(ended) };
  throw new Error(described(kind));
}

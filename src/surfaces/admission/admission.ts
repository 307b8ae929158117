import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import type { QueuedJob, FairDelivery, FairQueues } from '../../ground/bull/fair-queues.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { costOf } from '../../proof/tasks/cost.ts';
import { newJobId } from '../../core/jobs/job-id.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, featuresOf } from '../../proof/tasks/task-input.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { PriceTable } from '../ledger/price-table.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { RateLimits } from '../tenants/rate-limits.ts';
import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import {
  STATEMENT_TYPE,
  TICKET_TYPE,
  statementBytes,
  type Params,
  Policy,
  type Price,
  type Ticket,
} from '../../proof/receipts/statements.ts';
import { holdEntry, monthOf } from '../ledger/ledger-entry.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import { checkUrl, type EgressRules } from '../webhooks/egress.ts';
import { FINAL_EVENT_TYPES } from '../webhooks/webhook-event.ts';
import type { Webhooks } from '../webhooks/webhook.store.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { AttestationOffer } from './attestation-offer.ts';
import { DEFAULTS, type SubmitJob } from '../../proof/contract/submit-job.ts';

const ADMIT = loadScript(new URL('./lua/admit.lua', import.meta.url));

export const IDEMPOTENCY_MS = 86_400_000;
/** The sweep first looks at a job this long after its admission: a healthy one is done or running by then. */
const FIRST_LOOK_MS = 4_000;
const BATCH = 64;
const MAX_ATTEMPTS = 10;

interface PendingJob {
  readonly id: string;
  readonly tenant: string;
  /** By which the queue shares. */
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
  /** More fields of the ticket's hash, as JSON. */
  readonly extra: string;
  readonly price: Price | undefined;
}

/** Who asks. */
export type Submitter = Pick<Caller, 'tenant' | 'keyId' | 'limits'>;

export interface SubmitOptions {
  /** The same key with the same body answers with the same job. */
  readonly idempotencyKey?: string | undefined;
  /** Work that waits for what people wait for; a tenant's own interactive jobs do not queue behind it. */
  readonly isBackground?: boolean;
  /** What the surface that takes the job wants kept with it. */
  readonly surface?: string;
  /** A payment for this job alone, as it is kept until the end of the job. */
  readonly payment?: {
    readonly record: string;
    /** The whole price is paid, whatever is used of it. */
    readonly isFixed: boolean;
    /** What a repetition has to know besides the job. */
    readonly secret: string;
  };
}

/** An accepted job: by its id, and as it is where this call made it. */
export interface Admitted {
  readonly id: string;
  readonly fresh: JobView | undefined;
}

type AdmitReply =
  | { readonly kind: 'ok' | 'same' | 'other'; readonly id: string }
  | { readonly kind: 'busy' | 'spent'; readonly count: number };

/**
 * Accepts jobs: signs the ticket, stores it with its idempotency key in one step, and hands the id to the queue. The
 * job is accepted when the first of these is durable; a delivery that is missing then is added by the sweep.
 */
export class Admission {
  readonly #parts: AdmissionParts;
  readonly #batch: Coalescer<PendingJob, AdmitReply>;
  readonly #offer: AttestationOffer;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#offer = new AttestationOffer(parts.redis, parts.keys);
    this.#batch = new Coalescer(BATCH, (applications) => this.#admit(applications));
  }

  /**
   * The accepted job; the same again for the same idempotency key and body. A new job comes as it stands at this moment, so
   * that nobody has to read it back. Throws CodedErrors that leave no
   * trace: `model_not_found`, `task_not_supported`, `attestation_unavailable`, `body_too_large`, `idempotency_key_reused`,
   * `rate_limited`, `spend_exceeded`.
   */
  async submit(submitter: Submitter, body: SubmitJob, options: SubmitOptions = {}): Promise<Admitted> {
    const { tenant } = submitter;
    const { idempotencyKey } = options;
    if (body.webhook !== undefined) checkUrl(body.webhook.url, this.#parts.egress);
    const plan = await this.plan(tenant, body);
    const { model, params, policy, attempts, input, inputBytes } = plan;
    const price = plan.price && {
      ...plan.price,
      ...(options.payment?.isFixed === true ? { fixed: true as const } : {}),
    };
    // Allowances are taken for what may be used; a repetition under the same key takes them again.
    await this.#parts.limits.take(submitter, 'tokens', Math.ceil(inputBytes / 4) + params.max_tokens);
    const inline = inputBytes <= INLINE_BYTES;
    const inputSha256 = inline ? sha256Hex(input) : await this.#parts.blobs.put(Buffer.from(input));

    const createdMs = Date.now();
    const deadlineMs = createdMs + (body.deadline_ms ?? DEFAULTS.deadlineMs);
    const id = newJobId(createdMs);
    const ticket: Ticket = {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'input', digest: { sha256: inputSha256 } }],
      predicateType: TICKET_TYPE,
      predicate: {
        job: id,
        tenant,
        pool: model.pool,
        model: { name: model.name, sha256: model.sha256 },
        task: body.task,
        params,
        inputBytes,
        policy,
        attempts,
        ...(price === undefined ? {} : { price }),
        createdAt: new Date(createdMs).toISOString(),
        deadline: new Date(deadlineMs).toISOString(),
        nonce: freshRandom(32).toString('base64url'),
      },
    };
    crashPoint('api.before-admit');
    const signed = encodeStored(signPayload(this.#parts.signingKey, statementBytes(ticket)));
    const reply = await this.#batch.add({
      id,
      submitter,
      tenant,
      model,
      flow: options.isBackground === true ? `${tenant}~batch` : tenant,
      ticket: signed,
      inlineInput: inline ? input : '',
      createdMs,
      deadlineMs,
      attempts,
      cost: costOf(ticket.predicate),
      extra: await this.#extra(tenant, body, options),
      price,
      idempotencyKey: idempotencyKey === undefined ? '' : sha256Hex(idempotencyKey),
      // The parsed body, whose members stand in the order of the schema whatever the order they were sent in.
      bodyDigest: idempotencyKey === undefined ? '' : sha256Hex(JSON.stringify(body) + (options.payment?.secret ?? '')),
    });
    requireAccepted(reply, price);
    if (reply.kind === 'same' || reply.id !== id) return { id: reply.id, fresh: undefined };
    return {
      id,
      fresh: {
        id,
        tenant,
        model: model.name,
        queue: queueName(model.pool, model.name),
        createdMs,
        deadlineMs,
        maxAttempts: attempts,
        cancelAskedMs: undefined,
        ticket: signed,
        attempts: [],
        ending: undefined,
        state: 'queued',
      },
    };
  }

  /** What the job would be, checked like a real one. Throws what `submit` does, but for limits, and leaves nothing. */
  async plan(tenant: string, body: SubmitJob): Promise<Plan> {
    const model = this.#parts.catalog.get(body.model);
    if (model === undefined) {
      throw new CodedError('model_not_found', `There is no model named "${printable(body.model)}".`, {
        hint: 'GET /v1/models lists them',
        param: 'model',
      });
    }
    if (!model.tasks.includes(body.task)) {
      throw new CodedError(
        'task_not_supported',
        `The model ${model.name} does ${model.tasks.join(' and ')}, not ${body.task}.`,
      );
    }
    requireFeatures(model, body.input);
    const recompute = model.capabilities.repeats === 'no' ? 0 : this.#parts.defaultRecompute;
    // The schema puts the fields into its order, in which the ticket signs them.
    const policy = Policy.parse({ recompute, ...body.attestation });
    const params = paramsOf(body);
    await this.#offer.require({ model, policy, task: body.task, params, features: featuresOf(body.input) });

    const input = JSON.stringify(body.input);
    const inputBytes = Buffer.byteLength(input);
    if (inputBytes > MAX_INPUT_BYTES)
      throw new CodedError('body_too_large', `The input has ${inputBytes} bytes, and ${MAX_INPUT_BYTES} are allowed.`);
    return {
      model,
      params,
      policy,
      // Each run that the policy needs takes an attempt.
      attempts: Math.min(MAX_ATTEMPTS, (body.attempts ?? DEFAULTS.attempts) + PROMISES.runs(policy) - 1),
      input,
      inputBytes,
      price: this.#parts.prices.priceOf({ model: model.name, task: body.task, params, policy, inputBytes }),
    };
  }

  /** Whether a job was accepted under this key lately. */
  async knows(tenant: string, idempotencyKey: string): Promise<boolean> {
    const { redis, keys } = this.#parts;
    return (await redis.exists(keys.idempotency(tenant, sha256Hex(idempotencyKey)))) === 1;
  }

  async #extra(tenant: string, { webhook }: SubmitJob, { surface, payment }: SubmitOptions): Promise<string> {
    const kept = {
      ...(surface === undefined ? {} : { surface }),
      ...(payment === undefined ? {} : { payment: payment.record }),
    };
    if (webhook === undefined) return surface === undefined && payment === undefined ? '' : JSON.stringify(kept);
    const url = checkUrl(webhook.url, this.#parts.egress).href;
    await this.#parts.webhooks.listen(tenant);
    return JSON.stringify({ ...kept, webhook: JSON.stringify({ url, events: webhook.events ?? FINAL_EVENT_TYPES }) });
  }

  async #admit(applications: PendingJob[]): Promise<AdmitReply[]> {
    const { redis, keys, queues, logger } = this.#parts;
    const args = applications.flatMap((a) => [
      a.id,
      a.ticket,
      a.inlineInput,
      a.tenant,
      a.model.name,
      queueName(a.model.pool, a.model.name),
      a.createdMs,
      a.deadlineMs,
      a.attempts,
      a.cost,
      a.idempotencyKey,
      a.bodyDigest,
      a.submitter.keyId,
      a.extra,
      a.submitter.limits.tenant.concurrent_jobs ?? 0,
      a.price?.hold ?? 0,
      a.submitter.limits.tenant.spend ?? '',
      a.submitter.limits.key.spend ?? '',
      a.price === undefined ? '' : monthOf(a.createdMs),
      a.price === undefined ? '' : JSON.stringify(holdEntry(a.createdMs, a.submitter.keyId, a.model.name, a.price)),
    ]);
    const reply = await ADMIT.run(redis, [keys.open], [keys.prefix, IDEMPOTENCY_MS, FIRST_LOOK_MS, ...args]);
    if (!Array.isArray(reply)) throw new Error('admit.lua answered something else than a list.');
    crashPoint('api.after-admit');
    const replies = applications.map((_, index) => parseReply(reply[index]));
    const deliveries = new Map<string, FairDelivery<QueuedJob>[]>();
    applications.forEach(({ id, flow, model, cost }, index) => {
      if (replies[index]?.kind !== 'ok') return;
      const queue = queueName(model.pool, model.name);
      const list = deliveries.get(queue) ?? [];
      list.push({ name: id, data: { id }, tenant: flow, cost });
      deliveries.set(queue, list);
    });
    // These jobs are accepted already: a queue that fails here delays them until the sweep, and loses nothing.
    await Promise.all([...deliveries].map(([queue, list]) => queues.add(queue, list))).catch((error: unknown) => {
      logger.warn(`the sweep will deliver what could not be queued: ${messageOf(error)}`);
    });
    crashPoint('api.after-add');
    return replies;
  }
}

/** A job that could be accepted. */
export interface Plan {
  readonly model: CatalogModel;
  readonly params: Params;
  readonly policy: Policy;
  readonly attempts: number;
  readonly input: string;
  readonly inputBytes: number;
  readonly price: Price | undefined;
}

interface AdmissionParts {
  readonly webhooks: Webhooks;
  readonly egress: EgressRules;
  readonly prices: PriceTable;
  readonly limits: RateLimits;
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly queues: FairQueues<QueuedJob>;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly signingKey: SigningKey;
  readonly defaultRecompute: number;
  readonly logger: Logger;
}

function paramsOf({ params = {} }: SubmitJob): Params {
  return {
    max_tokens: params.max_tokens ?? DEFAULTS.max_tokens,
    temperature: params.temperature ?? DEFAULTS.temperature,
    top_p: params.top_p ?? DEFAULTS.top_p,
    seed: params.seed ?? freshRandom(4).readUInt32BE(0),
    stop: params.stop ?? [],
  };
}

function requireFeatures(model: CatalogModel, input: object): void {
  const missing = featuresOf(input).find((feature) => !model.capabilities.features.includes(feature));
  if (missing !== undefined)
    throw new CodedError('feature_not_supported', `The model ${model.name} does not take ${missing}.`, {
      param: missing,
    });
}

function requireAccepted(
  reply: AdmitReply,
  price: Price | undefined,
): asserts reply is AdmitReply & { readonly id: string } {
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
  const [kind, id] = Array.isArray(reply) ? (reply as unknown[]) : [];
  if (kind === 'busy' || kind === 'spent') return { kind, count: Number(id) };
  if ((kind === 'ok' || kind === 'same' || kind === 'other') && typeof id === 'string') return { kind, id };
  throw new Error(`admit.lua answered ${String(kind)}.`);
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 63);
}

import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisClock } from '../../ground/redis/redis-clock.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { DEFAULTS, attemptsOf, type SubmitJob } from '../../proof/contract/submit-job.ts';
import {
  STATEMENT_TYPE,
  TICKET_TYPE,
  type Params,
  Policy,
  type Price,
  type ShownMemory,
  type Ticket,
} from '../../proof/receipts/statements.ts';
import type { Task } from '../../proof/receipts/fields.ts';
import { MAX_SEED, steadySampling } from '../../proof/tasks/sampling.ts';
import { MAX_INPUT_BYTES, featuresOf } from '../../proof/tasks/task-input.ts';
import type { PriceTable } from '../ledger/price-table.ts';
import type { AttestationOffer } from './attestation-offer.ts';
import { jobTimes } from './job-times.ts';

/** A job that could be accepted: everything in its ticket but id, tenant and times. */
export interface Plan {
  readonly model: CatalogModel;
  readonly params: Params;
  readonly policy: Policy;
  readonly attempts: number;
  /** The input as JSON, and its length in UTF-8. */
  readonly input: string;
  readonly inputBytes: number;
  /** Undefined if the model is free. */
  readonly price: Price | undefined;
}

/** What planning needs. */
export interface PlanParts {
  readonly catalog: Catalog;
  readonly prices: PriceTable;
  /** The share of answers computed again for a job that does not say; 0 to 1. */
  readonly defaultRecompute: number;
  readonly offer: AttestationOffer;
  readonly clock: Pick<RedisClock, 'nowMs'>;
}

/**
 * Fills a job's defaults in and checks that it can be done and confirmed as asked. Throws CodedErrors
 * `model_not_found`, `task_not_supported`, `feature_not_supported`, `attestation_unavailable`,
 * `body_too_large`, `request_invalid` for times that leave it none.
 */
export async function planJob(parts: PlanParts, body: SubmitJob): Promise<Plan> {
  const { catalog, prices, defaultRecompute, offer, clock } = parts;
  const model = catalog.get(body.model);
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
  jobTimes(body, await clock.nowMs());
  const recompute = model.capabilities.repeats === 'no' ? 0 : defaultRecompute;
  // The schema puts the fields into its order, in which the ticket signs them.
  const policy = Policy.parse({ recompute, ...body.attestation });
  const params = paramsOf(body);
  await offer.require({ model, policy, task: body.task, params, features: featuresOf(body.input) });

  const input = JSON.stringify(body.input);
  const inputBytes = Buffer.byteLength(input);
  if (inputBytes > MAX_INPUT_BYTES)
    throw new CodedError('body_too_large', `The input has ${inputBytes} bytes, and ${MAX_INPUT_BYTES} are allowed.`);
  return {
    model,
    params,
    policy,
    attempts: attemptsOf(body.attempts, policy),
    input,
    inputBytes,
    price: prices.priceOf({ model: model.name, task: body.task, params, policy, inputBytes }),
  };
}

/** The ticket of a planned job, ready to be signed. Its nonce is new each time. */
export function newTicket(
  { model, params, policy, attempts, inputBytes, price }: Plan,
  job: {
    readonly id: string;
    readonly tenant: string;
    readonly task: Task;
    readonly inputSha256: string;
    readonly createdMs: number;
    readonly deadlineMs: number;
    readonly memories?: readonly ShownMemory[] | undefined;
  },
): Ticket {
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'input', digest: { sha256: job.inputSha256 } }],
    predicateType: TICKET_TYPE,
    predicate: {
      job: job.id,
      tenant: job.tenant,
      pool: model.pool,
      model: { name: model.name, sha256: model.sha256 },
      task: job.task,
      params,
      inputBytes,
      policy,
      attempts,
      ...(price === undefined ? {} : { price }),
      ...(job.memories === undefined ? {} : { memories: [...job.memories] }),
      createdAt: new Date(job.createdMs).toISOString(),
      deadline: new Date(job.deadlineMs).toISOString(),
      nonce: freshRandom(32).toString('base64url'),
    },
  };
}

function paramsOf({ params }: SubmitJob): Params {
  return {
    max_tokens: params?.max_tokens ?? DEFAULTS.max_tokens,
    ...steadySampling({
      temperature: params?.temperature ?? DEFAULTS.temperature,
      top_p: params?.top_p ?? DEFAULTS.top_p,
    }),
    seed: params?.seed ?? freshRandom(4).readUInt32BE(0) % (MAX_SEED + 1),
    stop: params?.stop ?? [],
  };
}

function requireFeatures(model: CatalogModel, input: object): void {
  const missing = featuresOf(input).find((feature) => !model.capabilities.features.includes(feature));
  if (missing !== undefined)
    throw new CodedError('feature_not_supported', `The model ${model.name} does not take ${missing}.`, {
      param: missing,
    });
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 63);
}

import type { CatalogModel } from '../../core/catalog/catalog.ts';
import { offerText } from '../../core/forecast/offer.ts';
import type { Forecast } from '../../core/forecast/outlooks.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { rankOf } from '../../core/jobs/rank.ts';
import { queueName } from '../../ground/redis/keys.ts';
import type { Span } from '../../ground/tracing/spans.ts';
import type { BandName } from '../../proof/contract/bands.ts';
import type { Price } from '../../proof/receipts/statements.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { LimitsAsked } from './limits-asked.ts';

/** The tenant and the key that a job is admitted for. */
export type Submitter = Pick<Caller, 'tenant' | 'keyId' | 'limits'>;

/** A job that is signed and not yet accepted. */
export interface PendingJob {
  readonly id: string;
  readonly model: CatalogModel;
  readonly ticket: string;
  readonly inlineInput: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly notBeforeMs: number | undefined;
  readonly priority: number;
  readonly band: BandName;
  readonly attempts: number;
  readonly cost: number;
  readonly forecast: Forecast;
  readonly idempotencyKey: string;
  readonly bodyDigest: string;
  readonly isStored: boolean;
  /** More fields of the job's hash, as JSON. */
  readonly extra: string;
  readonly price: Price | undefined;
  /** What is reserved for it, as `reserve.lua` has it; empty for nothing. */
  readonly reserve: string;
  /** Of its admission; absent where it is not traced. */
  readonly span: Span | undefined;
}

/** The jobs of one request, which are accepted all or none. */
export interface PendingRequest {
  readonly submitter: Submitter;
  /** Jobs of the same flow share one turn in the backlog. */
  readonly flow: string;
  readonly surface: string | undefined;
  readonly ask: LimitsAsked | undefined;
  /** How long its idempotency keys are known. */
  readonly idempotencyMs: number;
  readonly jobs: readonly PendingJob[];
}

/** The arguments of one request, in the order that `admit.lua` names. */
export function scriptArguments({ submitter, flow, ask, idempotencyMs, jobs }: PendingRequest): (string | number)[] {
  return [
    jobs.length,
    submitter.tenant,
    flow,
    submitter.keyId,
    ask === undefined ? '' : JSON.stringify(ask),
    idempotencyMs,
    ...jobs.flatMap((job) => [
      job.id,
      job.ticket,
      job.inlineInput,
      job.model.name,
      queueName(job.model.pool, job.model.name),
      job.createdMs,
      job.deadlineMs,
      job.attempts,
      job.cost,
      job.idempotencyKey,
      job.bodyDigest,
      job.extra,
      job.price === undefined || job.price.hold === 0 ? '' : job.price.hold,
      job.reserve,
      ...forecastArguments(job.forecast),
      job.notBeforeMs ?? '',
      rankOf(job.priority, job.deadlineMs),
      job.band,
    ]),
  ];
}

/** The part of a job's arguments that is about predictions. */
function forecastArguments({ cost, weight, offer, slots, limits, perCostMs }: Forecast): (string | number)[] {
  return [
    cost / weight,
    weight,
    cost,
    slots === 0 ? '' : offerText(offer),
    slots,
    offer.perEndMs,
    offer.perTagMs,
    perCostMs,
    limits.withinMs,
    limits.beyondMs,
    limits.cappedMs,
    limits.crowdMs,
    limits.graceMs,
    limits.fewDistance,
  ];
}

/** The job as it stands right after its admission. */
export function queuedView(job: PendingJob, { tenant, keyId }: Submitter, surface: string | undefined): JobView {
  const { id, model, createdMs, deadlineMs, notBeforeMs, priority, band, attempts, ticket } = job;
  return {
    id,
    tenant,
    model: model.name,
    queue: queueName(model.pool, model.name),
    createdMs,
    deadlineMs,
    notBeforeMs,
    priority,
    band,
    maxAttempts: attempts,
    cancelAskedMs: undefined,
    ticket,
    keyId,
    hold: job.price?.hold,
    surface,
    isStored: job.isStored,
    attempts: [],
    ending: undefined,
    state: 'queued',
    record: undefined,
    erased: undefined,
  };
}

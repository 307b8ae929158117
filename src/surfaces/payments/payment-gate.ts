import type { Admission, Admitted, SubmitOptions } from '../admission/admission.ts';
import type { Submitter } from '../admission/pending-job.ts';
import { jobTimes } from '../admission/job-times.ts';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Price } from '../../proof/receipts/statements.ts';
import type { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { ApiKeys } from '../tenants/api-key.store.ts';
import { Facilitator, NoAnswer } from './facilitator.ts';
import { PAYER_KEY, VISITOR, payerTenant, payerToken, readPayerToken } from './payer.ts';
import { paymentResponse, type HeldPayment, type PaymentRecords } from './payment.store.ts';
import type { PaymentTerms, Way } from './payment-terms.ts';
import { paymentRequired, readPayment, requirementsOf, wayOf, type Payment, type Requirements } from './x402.ts';

/** Time between a job's deadline and the end of the authorization, for confirming the answer and settling. */
const SETTLE_ROOM_MS = 120_000;
/** How long a payer may take to sign the terms. */
const SIGN_ROOM_MS = 60_000;

/** What the HTTP request of a payer says besides the job. */
export interface PaidRequest {
  /** The header `PAYMENT-SIGNATURE`. */
  readonly payment: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** All that was asked, and where, of a request with an Idempotency-Key. */
  readonly request: string | undefined;
  /** Path that the request was sent to. */
  readonly path: string;
}

/** A job that a payer without an account may submit, and how. */
export interface PaidFor {
  readonly submitter: Submitter;
  readonly job: SubmitJob;
  readonly options: SubmitOptions;
  /** Whether the same payment with the same request may be sent again at any time. */
  readonly isRepeatable: boolean;
}

/**
 * Admits callers who pay for one request: asks for a payment, has the facilitator verify it, and returns the
 * job to be admitted in the payer's name. Money moves only when the job is done (`payment-settler.ts`). Any
 * number of calls may run at once.
 */
export class PaymentGate {
  /** Undefined if nothing is sold by the request. */
  readonly #terms: PaymentTerms | undefined;
  readonly #admission: Admission;
  readonly #apiKeys: ApiKeys;
  readonly #secrets: SecretsKeys;
  readonly #records: PaymentRecords;
  readonly #logger: Logger;

  constructor(parts: {
    terms: PaymentTerms | undefined;
    records: PaymentRecords;
    admission: Admission;
    apiKeys: ApiKeys;
    secrets: SecretsKeys;
    logger: Logger;
  }) {
    this.#terms = parts.terms;
    this.#admission = parts.admission;
    this.#apiKeys = parts.apiKeys;
    this.#secrets = parts.secrets;
    this.#records = parts.records;
    this.#logger = parts.logger;
  }

  /** The caller of a request without a key; undefined if nothing is sold by the request. */
  async visitor(): Promise<Caller | undefined> {
    return this.#terms && this.#apiKeys.callerWithout(VISITOR, PAYER_KEY, ['submit']);
  }

  /** The holder of a payer's token and its job; undefined if the token is not valid. */
  async holder(token: string): Promise<{ caller: Caller; job: string } | undefined> {
    const read = readPayerToken(this.#secrets, token);
    const caller = read && (await this.#apiKeys.callerWithout(read.tenant, PAYER_KEY, ['read']));
    return read === undefined || caller === undefined ? undefined : { caller, job: read.job };
  }

  /**
   * The headers of the answer to a payer. An authorization becomes public when it is carried out, and anyone
   * could send it again with the same job. Therefore, once the job has ended, a repetition is answered only
   * if the first request had an Idempotency-Key, which is secret. Throws CodedError `payment_used`.
   */
  async headersOf(paid: PaidFor, { id, fresh }: Admitted): Promise<Record<string, string>> {
    if (fresh === undefined && !paid.isRepeatable && (await this.#records.read(id))?.state !== 'held')
      throw new CodedError('payment_used', 'This payment was already used for an answer; sign another one.');
    return { 'countersign-payer-token': payerToken(this.#secrets, paid.submitter.tenant, id) };
  }

  /**
   * The header with the outcome of a done job's payment. Waits for it and throws as
   * `PaymentRecords.requireSettled`.
   */
  async outcomeOf(job: string): Promise<Record<string, string>> {
    const record = await this.#records.requireSettled(job);
    return record === undefined ? {} : { 'payment-response': paymentResponse(record) };
  }

  /**
   * What a payer may submit; undefined for a caller with an API key. The same payment with the same job is
   * that job again. Throws CodedErrors that leave no trace: `payment_required`, with the terms in the header
   * `PAYMENT-REQUIRED`, if there is no good payment; `payment_unverified` if the facilitator does not answer;
   * `unauthenticated` if the model has no price; `request_invalid`; and what `Admission.plan` throws.
   */
  async require(caller: Caller, jobs: readonly SubmitJob[], request: PaidRequest): Promise<PaidFor | undefined> {
    const terms = this.#terms;
    if (terms === undefined || caller.keyId !== PAYER_KEY) return undefined;
    const [wanted] = jobs;
    if (wanted === undefined || jobs.length > 1)
      throw new CodedError('request_invalid', 'A payment is for one answer; ask for one answer, or use an API key.');
    const payment = request.payment === undefined ? undefined : readPayment(request.payment);
    const known = payment && (await this.#knownWay(terms, payment));
    if (payment !== undefined && known !== undefined)
      return this.#paidFor(
        wanted,
        { payment, way: known.way, requirements: known.requirements, isKnown: true },
        request,
      );
    const price = await this.#priceOf(wanted);
    const refuse = (why: string) =>
      new CodedError('payment_required', why, {
        headers: { 'payment-required': paymentRequired(terms, price, request.path, why) },
      });
    if (request.payment === undefined)
      throw refuse(`Use an API key, or pay for this answer: at most ${price.hold} millionths of a ${price.currency}.`);
    const way = payment && wayOf(terms, payment, price);
    if (payment === undefined || way === undefined) throw refuse('PAYMENT-SIGNATURE holds no payment on these terms.');
    if (!outlivesJob(payment, Date.now(), deadlineOf(wanted, way)))
      throw refuse(`The authorization must hold from now for ${way.maxTimeoutSeconds} seconds.`);
    const requirements = requirementsOf(way, price);
    const problem = await this.#problemWith(terms, payment, requirements);
    if (problem !== undefined) throw refuse(`The payment is not good: ${problem}.`);
    return this.#paidFor(wanted, { payment, way, requirements, isKnown: false }, request);
  }

  /**
   * The way of a payment that a job was accepted for; undefined for any other. It was verified then, at the
   * price of that time: what prices are now is nothing to it.
   */
  async #knownWay(
    terms: PaymentTerms,
    payment: Payment,
  ): Promise<{ readonly way: Way; readonly requirements: Requirements } | undefined> {
    const way = wayOf(terms, payment);
    if (way === undefined) return undefined;
    if (!(await this.#admission.knows(payerTenant(payment.payer), keyOf(payment)))) return undefined;
    const { scheme, network, asset, payTo, maxTimeoutSeconds, extra } = way;
    const { amount } = payment.payload.accepted;
    return { way, requirements: { scheme, network, amount, asset, payTo, maxTimeoutSeconds, extra } };
  }

  /** The job of a payment that is good. */
  async #paidFor(
    wanted: SubmitJob,
    { payment, way, requirements, isKnown }: GoodPayment,
    request: PaidRequest,
  ): Promise<PaidFor> {
    const tenant = payerTenant(payment.payer);
    const submitter = await this.#apiKeys.callerWithout(tenant, PAYER_KEY, []);
    if (submitter === undefined) throw new CodedError('scope_missing', 'Nothing is sold to this address.');
    const { unitsPerMillionth, scheme } = way;
    const { payload, payer, untilMs } = payment;
    const held: HeldPayment = { payload, requirements, unitsPerMillionth, payer, untilMs };
    const secret = request.idempotencyKey ?? '';
    return {
      submitter,
      job: { ...wanted, deadline_ms: deadlineOf(wanted, way) },
      options: {
        idempotencyKey: keyOf(payment),
        request: request.request,
        payment: { record: JSON.stringify(held), isFixed: scheme === 'exact', isKnown, secret },
      },
      isRepeatable: request.idempotencyKey !== undefined,
    };
  }

  /**
   * The price of a job that is sold by the request. Throws CodedError `unauthenticated` if it is not sold so.
   */
  async #priceOf(wanted: SubmitJob): Promise<Price> {
    const { price } = await this.#admission.plan(wanted);
    if (price === undefined || price.hold === 0)
      throw new CodedError('unauthenticated', `The model ${wanted.model} is not sold by the request; use an API key.`);
    return price;
  }

  /**
   * Why the facilitator would not carry out the payment; undefined if it would. Throws CodedError
   * `payment_unverified`.
   */
  async #problemWith(terms: PaymentTerms, payment: Payment, requirements: Requirements): Promise<string | undefined> {
    const verified = await new Facilitator(terms.facilitator)
      .verify(payment.payload, requirements)
      .catch((error: unknown) => {
        if (!(error instanceof NoAnswer)) throw error;
        this.#logger.warn({ err: error }, 'a payment could not be verified');
        throw new CodedError('payment_unverified', 'The payment cannot be verified now; send the same request again.', {
          cause: error,
          headers: { 'retry-after': '2' },
        });
      });
    if (!verified.isValid) return verified.invalidReason ?? 'no reason given';
    return verified.payer?.toLowerCase() === payment.payer ? undefined : 'the facilitator names another payer';
  }
}

/** A payment whose way is offered, and that was verified now or before. */
interface GoodPayment {
  readonly payment: Payment;
  readonly way: Way;
  readonly requirements: Requirements;
  readonly isKnown: boolean;
}

/** A payment is one job, under this idempotency key of its payer. */
function keyOf({ id }: Payment): string {
  return `x402 ${id}`;
}

/** How long a job may take, in ms, so that its payment outlives it. Throws CodedError `request_invalid`. */
function deadlineOf({ deadline_ms: asked, not_before }: SubmitJob, way: Way): number {
  const maxMs = way.maxTimeoutSeconds * 1_000 - SETTLE_ROOM_MS - SIGN_ROOM_MS;
  const nowMs = Date.now();
  const deadlineMs = asked ?? Math.min(jobTimes({ not_before }, nowMs).deadlineMs - nowMs, maxMs);
  if (deadlineMs > maxMs) throw new CodedError('request_invalid', `deadline_ms: a payment allows ${maxMs} ms at most.`);
  return deadlineMs;
}

/** Whether an authorization is valid now and until its job, which takes at most `deadlineMs`, is settled. */
function outlivesJob({ sinceMs, untilMs }: Payment, nowMs: number, deadlineMs: number): boolean {
  return sinceMs <= nowMs && untilMs >= nowMs + deadlineMs + SETTLE_ROOM_MS;
}

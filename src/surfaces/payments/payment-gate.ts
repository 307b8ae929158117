import type { Admission, Admitted, SubmitOptions, Submitter } from '../admission/admission.ts';
import { DEFAULTS, type SubmitJob } from '../../proof/contract/submit-job.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { ApiKeys } from '../tenants/api-key.store.ts';
import { Facilitator, NoAnswer } from './facilitator.ts';
import { PAYER_KEY, VISITOR, payerTenant, payerToken, readPayerToken } from './payer.ts';
import { paymentResponse, type HeldPayment, type PaymentRecords } from './payment.store.ts';
import type { PaymentTerms } from './payment-terms.ts';
import { paymentRequired, readPayment, requirementsOf, wayOf, type Payment, type Requirements } from './x402.ts';

/** Between a job's deadline and the end of the authorization: to confirm the answer, and to settle. */
const SETTLE_ROOM_MS = 120_000;
/** How long a payer may take to sign. */
const SIGN_ROOM_MS = 60_000;

export interface PaidRequest {
  /** The header `PAYMENT-SIGNATURE`. */
  readonly payment: string | undefined;
  readonly idempotencyKey: string | undefined;
  readonly path: string;
}

/** A job as somebody without an account may hand it in. */
export interface PaidFor {
  readonly submitter: Submitter;
  readonly job: SubmitJob;
  readonly options: SubmitOptions;
  /** Whether the same payment with the same job may be sent again whenever. */
  readonly isRepeatable: boolean;
}

/**
 * Lets those in who pay for one request: asks for a payment, has the facilitator verify it, and hands the job to the admission
 * in the payer's name. Money moves when the job is done, and not before (`courier/settler.ts`).
 */
export class PaymentGate {
  /** Undefined where nothing is sold by the request. */
  readonly #terms: PaymentTerms | undefined;
  readonly #admission: Admission;
  readonly #apiKeys: ApiKeys;
  readonly #signingKey: SigningKey;
  readonly #records: PaymentRecords;
  readonly #logger: Logger;

  constructor(parts: {
    terms: PaymentTerms | undefined;
    records: PaymentRecords;
    admission: Admission;
    apiKeys: ApiKeys;
    signingKey: SigningKey;
    logger: Logger;
  }) {
    this.#terms = parts.terms;
    this.#admission = parts.admission;
    this.#apiKeys = parts.apiKeys;
    this.#signingKey = parts.signingKey;
    this.#records = parts.records;
    this.#logger = parts.logger;
  }

  /** Who comes without a key; undefined where nothing is sold by the request. */
  async visitor(): Promise<Caller | undefined> {
    return this.#terms && this.#apiKeys.callerWithout(VISITOR, PAYER_KEY, ['submit']);
  }

  /** Who holds a payer's token, and for which job. */
  async holder(token: string): Promise<{ caller: Caller; job: string } | undefined> {
    const read = readPayerToken(this.#signingKey, token);
    const caller = read && (await this.#apiKeys.callerWithout(read.tenant, PAYER_KEY, ['read']));
    return read === undefined || caller === undefined ? undefined : { caller, job: read.job };
  }

  /**
   * What the payer is told of his job. An authorization becomes public when it is carried out, and with it anyone could ask for
   * the same job again: from the end of the job on, only whoever sent an Idempotency-Key with it is answered. Throws
   * CodedError `payment_used`.
   */
  async headersOf(paid: PaidFor, { id, fresh }: Admitted): Promise<Record<string, string>> {
    if (fresh === undefined && !paid.isRepeatable && (await this.#records.read(id))?.state !== 'held')
      throw new CodedError('payment_used', 'This payment was used for an answer already; sign another.');
    return { 'countersign-payer-token': payerToken(this.#signingKey, paid.submitter.tenant, id) };
  }

  /** The outcome of the payment of a done job, once there is one; throws as `PaymentRecords.requireSettled`. */
  async outcomeOf(job: string): Promise<Record<string, string>> {
    const record = await this.#records.requireSettled(job);
    return record === undefined ? {} : { 'payment-response': paymentResponse(record) };
  }

  /**
   * Undefined for whoever has an API key. Throws CodedErrors that leave no trace: `payment_required`, with the terms in `PAYMENT-REQUIRED`, where there is no payment or
   * none that is good; `payment_unverified`; `unauthenticated` where the model has no price; and what `Admission.plan` throws.
   * The same payment with the same job is that job again.
   */
  async require(caller: Caller, jobs: readonly SubmitJob[], request: PaidRequest): Promise<PaidFor | undefined> {
    const terms = this.#terms;
    if (terms === undefined || caller.keyId !== PAYER_KEY) return undefined;
    const { payment: header, path } = request;
    const [wanted] = jobs;
    if (wanted === undefined || jobs.length > 1)
      throw new CodedError('request_invalid', 'A payment is for one answer; ask for one, or with an API key.');
    const { price } = await this.#admission.plan(VISITOR, wanted);
    if (price === undefined || price.hold === 0)
      throw new CodedError('unauthenticated', `The model ${wanted.model} is not sold by the request; send an API key.`);
    const refuse = (why: string) =>
      new CodedError('payment_required', why, {
        headers: { 'payment-required': paymentRequired(terms, price, path, why) },
      });
    if (header === undefined)
      throw refuse(`Send an API key, or pay for this answer: at most ${price.hold} millionths of a ${price.currency}.`);
    const payment = readPayment(header);
    const way = payment && wayOf(terms, price, payment);
    if (payment === undefined || way === undefined) throw refuse('PAYMENT-SIGNATURE holds no payment on these terms.');

    const longestMs = way.maxTimeoutSeconds * 1_000 - SETTLE_ROOM_MS - SIGN_ROOM_MS;
    const deadlineMs = wanted.deadline_ms ?? Math.min(DEFAULTS.deadlineMs, longestMs);
    if (deadlineMs > longestMs)
      throw new CodedError('request_invalid', `deadline_ms: a payment holds for ${longestMs} ms at most.`);
    const tenant = payerTenant(payment.payer);
    const job = { ...wanted, deadline_ms: deadlineMs };
    const idempotencyKey = `x402 ${payment.id}`;
    const requirements = requirementsOf(way, price);
    if (!(await this.#admission.knows(tenant, idempotencyKey))) {
      const now = Date.now();
      if (payment.sinceMs > now || payment.untilMs < now + deadlineMs + SETTLE_ROOM_MS)
        throw refuse(`The authorization must hold from now for ${way.maxTimeoutSeconds} seconds.`);
      const problem = await this.#problemWith(terms, payment, requirements);
      if (problem !== undefined) throw refuse(`The payment is not good: ${problem}.`);
    }
    const submitter = await this.#apiKeys.callerWithout(tenant, PAYER_KEY, []);
    if (submitter === undefined) throw new CodedError('scope_missing', 'Nothing is sold to this address.');
    const held: HeldPayment = {
      payload: payment.payload,
      requirements,
      unitsPerMillionth: way.unitsPerMillionth,
      payer: payment.payer,
      untilMs: payment.untilMs,
    };
    return {
      submitter,
      job,
      options: {
        idempotencyKey,
        payment: {
          record: JSON.stringify(held),
          isFixed: way.scheme === 'exact',
          secret: request.idempotencyKey ?? '',
        },
      },
      isRepeatable: request.idempotencyKey !== undefined,
    };
  }

  /** Why the facilitator would not carry the payment out; undefined where it would. */
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

import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Withholding } from '../../core/jobs/jobs.ts';
import { isPayer } from './payer.ts';
import { Requirements, X402_VERSION, encode, type PaymentPayload } from './x402.ts';

/** How long somebody who asks for what he paid for waits for the settlement. */
const WAIT_MS = 20_000;
const LOOK_EVERY_MS = 100;

/**
 * `held` until the job is final; then `released`, or `due` until the facilitator has spoken. `unsure` is a payment of which nobody knows
 * whether it was carried out: it counts for the payer.
 */
export const PAYMENT_STATES = ['held', 'due', 'settled', 'unsure', 'failed', 'released'] as const;
export type PaymentState = (typeof PAYMENT_STATES)[number];

/** What the ticket's hash keeps of a payment while the job is open. */
export const HeldPayment = z.strictObject({
  payload: z.custom<PaymentPayload>((value) => typeof value === 'object' && value !== null),
  requirements: Requirements,
  /** Smallest units for a millionth of the currency. */
  unitsPerMillionth: z.string(),
  payer: z.string(),
  untilMs: z.number(),
});
export type HeldPayment = z.infer<typeof HeldPayment>;

export interface PaymentRecord {
  readonly state: PaymentState;
  readonly payer: string;
  readonly requirements: Requirements;
  readonly transaction: string;
  readonly problem: string;
}

/** Payments of jobs: what a payer bought is withheld from him until his payment is settled. */
export class PaymentRecords implements Withholding {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Undefined where the job was not paid for by itself. */
  async read(job: string): Promise<PaymentRecord | undefined> {
    const row = await this.#redis.hgetall(this.#keys.payment(job));
    const { state, payer = '', requirements, transaction = '', problem = '' } = row;
    if (state !== undefined && requirements !== undefined)
      return {
        state: z.enum(PAYMENT_STATES).parse(state),
        payer,
        requirements: Requirements.parse(JSON.parse(requirements)),
        transaction,
        problem,
      };
    const held = await this.#redis.hget(this.#keys.ticket(job), 'payment');
    if (held === null) return undefined;
    const { payer: holder, requirements: most } = HeldPayment.parse(JSON.parse(held));
    return { state: 'held', payer: holder, requirements: most, transaction: '', problem: '' };
  }

  /** Somebody who pays for each answer would have read it before it is paid. */
  hidesProvisional(tenant: string): boolean {
    return isPayer(tenant);
  }

  /** Throws as `requireSettled`. */
  async requireReleased(tenant: string, id: string): Promise<void> {
    if (isPayer(tenant)) await this.requireSettled(id);
  }

  /** Comes back when the payment of a done job is settled. Throws CodedErrors `payment_pending`, `payment_failed`. */
  async requireSettled(job: string): Promise<PaymentRecord | undefined> {
    const until = performance.now() + WAIT_MS;
    for (;;) {
      const record = await this.read(job);
      if (record === undefined || record.state === 'settled' || record.state === 'unsure') return record;
      if (record.state === 'failed')
        throw new CodedError(
          'payment_failed',
          `The answer was confirmed and its payment not carried out (${record.problem}), so it is not handed out.`,
          { headers: { 'payment-response': paymentResponse(record) } },
        );
      if (performance.now() > until)
        throw new CodedError('payment_pending', 'The payment is not settled yet; ask again in a moment.', {
          headers: { 'retry-after': '2' },
        });
      await sleep(LOOK_EVERY_MS);
    }
  }
}

/** The value of `PAYMENT-RESPONSE`. */
export function paymentResponse({ state, payer, requirements, transaction, problem }: PaymentRecord): string {
  return encode({
    x402Version: X402_VERSION,
    success: state === 'settled' || state === 'unsure',
    ...(problem === '' ? {} : { errorReason: problem }),
    transaction,
    network: requirements.network,
    payer,
    amount: requirements.amount,
  });
}

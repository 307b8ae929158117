import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { Withholding } from '../../core/jobs/jobs.ts';
import { isPayer } from './payer.ts';
import { Requirements, X402_VERSION, encode, type PaymentPayload } from './x402.ts';

/** How long a request for a paid answer waits for the settlement. */
const WAIT_MS = 20_000;
const LOOK_EVERY_MS = 100;

/**
 * `held` until the job is final; then `released`, or `due` until the facilitator answers. `unsure` means that
 * it is not known whether the payment was carried out: it counts in favour of the payer.
 */
export const PAYMENT_STATES = ['held', 'due', 'settled', 'unsure', 'failed', 'released'] as const;
export type PaymentState = (typeof PAYMENT_STATES)[number];

/** The payment as the ticket's hash keeps it while the job is open. */
export const HeldPayment = z.strictObject({
  payload: z.custom<PaymentPayload>((value) => typeof value === 'object' && value !== null),
  requirements: Requirements,
  /** Smallest units of the token per millionth of the currency. */
  unitsPerMillionth: z.string(),
  payer: z.string(),
  untilMs: z.number(),
});
export type HeldPayment = z.infer<typeof HeldPayment>;

/** A payment and what became of it; `transaction` and `problem` are empty if there is none. */
export interface PaymentRecord {
  readonly state: PaymentState;
  readonly payer: string;
  readonly requirements: Requirements;
  readonly transaction: string;
  readonly problem: string;
}

/**
 * Payments of jobs. An answer is withheld from its payer until the payment is settled. Any number of calls
 * may run at once.
 */
@Injectable()
export class PaymentRecords implements Withholding {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** The payment of a job; undefined if the job was not paid for by itself. */
  async read(job: string): Promise<PaymentRecord | undefined> {
    // A courier that enters the end moves the payment from the one place to the other between two looks.
    return (await this.#entered(job)) ?? (await this.#held(job)) ?? (await this.#entered(job));
  }

  async #entered(job: string): Promise<PaymentRecord | undefined> {
    const row = await this.#redis.hgetall(this.#keys.payment(job));
    const { state, payer = '', requirements, transaction = '', problem = '' } = row;
    if (state === undefined || requirements === undefined) return undefined;
    return {
      state: z.enum(PAYMENT_STATES).parse(state),
      payer,
      requirements: Requirements.parse(JSON.parse(requirements)),
      transaction,
      problem,
    };
  }

  async #held(job: string): Promise<PaymentRecord | undefined> {
    const held = await this.#redis.hget(this.#keys.job(job), 'payment');
    if (held === null) return undefined;
    const { payer, requirements } = HeldPayment.parse(JSON.parse(held));
    return { state: 'held', payer, requirements, transaction: '', problem: '' };
  }

  /** A payer would otherwise have read the whole answer before paying for it. */
  hidesProvisional(tenant: string): boolean {
    return isPayer(tenant);
  }

  /** Throws as `requireSettled`. */
  async requireReleased(tenant: string, id: string): Promise<void> {
    if (isPayer(tenant)) await this.requireSettled(id);
  }

  /**
   * Waits up to 20 s until the payment of a done job is settled, and returns it. Throws CodedErrors
   * `payment_pending`, `payment_failed`.
   */
  async requireSettled(job: string): Promise<PaymentRecord | undefined> {
    const until = performance.now() + WAIT_MS;
    for (;;) {
      const record = await this.read(job);
      if (record === undefined || record.state === 'settled' || record.state === 'unsure') return record;
      if (record.state === 'failed')
        throw new CodedError(
          'payment_failed',
          `The answer was confirmed, but its payment was not carried out (${record.problem}), so it is withheld.`,
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

/** The value of the header `PAYMENT-RESPONSE` (x402, version 2). */
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

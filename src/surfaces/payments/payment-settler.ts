import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { Facilitator, NoAnswer, type Settled } from './facilitator.ts';
import type { PaymentState } from './payment.store.ts';
import { settlementRetryMs } from './settlement-retry.ts';
import { Requirements, type PaymentPayload } from './x402.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { takeDue } from '../../ground/redis/take-due.ts';

const LOOK_EVERY_MS = 100;
const AT_ONCE = 16;
/** Longer than a settlement may take. A payment whose courier died is tried again after this. */
const TAKEN_MS = 70_000;

/**
 * Carries out the payments of done jobs. A chain accepts each authorization once, so a repeated call takes
 * nothing twice. But the answer to a repeated call may be a refusal because the first call succeeded.
 * Therefore `asked` is written before the call and removed with its answer. A refusal after a call whose
 * answer was lost ends `unsure`: it counts in favour of the payer, and the operator has to look it up.
 */
export class PaymentSettler {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #facilitator: Facilitator;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;
  readonly #running = new Set<Promise<void>>();
  readonly #warn: (error: unknown) => void;

  constructor({ redis, keys }: { redis: Redis; keys: RedisKeys }, facilitatorUrl: string, logger: Logger) {
    this.#redis = redis;
    this.#keys = keys;
    this.#facilitator = new Facilitator(facilitatorUrl);
    this.#logger = logger;
    this.#warn = rateLimited(5_000, (error) => logger.warn(`payments: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS * 5);
  }

  /** Begins to look for payments that are due. */
  start(): void {
    this.#looks.start();
  }

  /** Resolves when the calls that run have been answered. */
  async stop(): Promise<void> {
    await this.#looks.stop();
    await Promise.all(this.#running);
  }

  /** Begins what is due. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const room = AT_ONCE - this.#running.size;
    if (room <= 0) {
      await Promise.race(this.#running);
      return 0;
    }
    for (const job of await takeDue(this.#redis, this.#keys.payments, TAKEN_MS, room)) {
      const work = this.#settle(job)
        .catch(this.#warn)
        .finally(() => this.#running.delete(work));
      this.#running.add(work);
    }
    return LOOK_EVERY_MS;
  }

  async #settle(job: string): Promise<void> {
    const key = this.#keys.payment(job);
    const { state, payload, requirements, until, tries, asked } = await this.#redis.hgetall(key);
    if (state !== 'due' || payload === undefined || requirements === undefined) {
      await this.#redis.zrem(this.#keys.payments, job);
      return;
    }
    const mayBeDone = asked !== undefined;
    await this.#redis.multi().hset(key, { asked: '1' }).hincrby(key, 'tries', 1).exec();
    let answer: Settled;
    try {
      answer = await this.#facilitator.settle(
        JSON.parse(payload) as PaymentPayload,
        Requirements.parse(JSON.parse(requirements)),
      );
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      this.#warn(error);
      if (!error.mayHaveArrived && !mayBeDone) await this.#redis.hdel(key, 'asked');
      if (Date.now() > Number(until))
        return this.#end(job, error.mayHaveArrived || mayBeDone ? 'unsure' : 'failed', {
          problem: 'the authorization ended before the facilitator answered',
        });
      const nextMs = Date.now() + settlementRetryMs(Number(tries ?? 0));
      await this.#redis.zadd(this.#keys.payments, 'XX', nextMs, job);
      return;
    }
    crashPoint('courier.after-settle');
    if (answer.success) return this.#end(job, 'settled', { transaction: answer.transaction });
    await this.#end(job, mayBeDone ? 'unsure' : 'failed', { problem: answer.errorReason ?? 'no reason given' });
  }

  async #end(
    job: string,
    state: PaymentState,
    fields: { readonly transaction?: string; readonly problem?: string },
  ): Promise<void> {
    const key = this.#keys.payment(job);
    await this.#redis
      .multi()
      .hset(key, { state, ended: Date.now(), ...fields })
      .hdel(key, 'payload', 'asked', 'until')
      .zrem(this.#keys.payments, job)
      .exec();
    if (state !== 'settled') this.#logger.warn({ job, state, ...fields }, 'a payment was not carried out as it should');
  }
}

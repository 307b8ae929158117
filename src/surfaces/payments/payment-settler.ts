import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { Facilitator, NoAnswer, type Settled } from './facilitator.ts';
import type { PaymentState } from './payment.store.ts';
import { Requirements, type PaymentPayload } from './x402.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { takeDue } from '../../ground/redis/take-due.ts';

const LOOK_EVERY_MS = 100;
const AT_ONCE = 16;
/** Longer than a settlement may take: what a courier took that died comes back after this. */
const TAKEN_MS = 70_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

/**
 * Carries out the payments of done jobs. The chain lets each authorization through once, so asking again can take nothing twice; but
 * then the answer may be a refusal that is about the first time. Hence `asked`, written before the call and removed with its
 * answer: a refusal that comes after a call whose answer nobody saw ends `unsure`, which counts for the payer and is for the
 * operator to look up.
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

  start(): void {
    this.#looks.start();
  }

  async stop(): Promise<void> {
    await this.#looks.stop();
    await Promise.all(this.#running);
  }

  /** When to look again, ms. */
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
      const wait = Math.min(FIRST_RETRY_MS * 2 ** Math.min(Number(tries ?? 0), 10), MAX_RETRY_MS);
      await this.#redis.zadd(this.#keys.payments, 'XX', Date.now() + wait, job);
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

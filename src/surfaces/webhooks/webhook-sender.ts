import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { describeFailure, Egress, type Answer, type EgressRules } from './egress.ts';
import { webhookRetryMs } from './webhook-retry.ts';
import { webhookSecret } from './webhook-secret.ts';
import { takeDue } from '../../ground/redis/take-due.ts';
import { JOB_ENDPOINT, type WebhookMessage, type Endpoint, type Webhooks } from './webhook.store.ts';

const LOOK_EVERY_MS = 100;
const MESSAGES_AT_ONCE = 64;
/** One receiver gets at most this many messages at once, so that a slow one does not hold up the others. */
const AT_ONCE_TO_ONE = 8;
/** Longer than an attempt may take. A message whose courier died is sent again after this. */
const TAKEN_MS = 20_000;

/** What sending needs. The secrets of endpoints are derived from `signingKey`. */
export interface SenderParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly webhooks: Webhooks;
  readonly egress: EgressRules;
  readonly signingKey: SigningKey;
}

/**
 * Sends each webhook message at least once, always under the same id. A message that is due is taken for a
 * while, sent, and its outcome recorded. A crash between sending and recording sends it again. Any number of
 * couriers may send at once: a message is taken by one of them.
 */
export class WebhookSender {
  readonly #parts: SenderParts;
  readonly #logger: Logger;
  readonly #egress: Egress;
  /** Seconds to wait before each attempt. */
  readonly #schedule: readonly number[];
  readonly #sending = new Map<string, { target: string; work: Promise<void> }>();
  readonly #warn: (error: unknown) => void;
  readonly #looks: PeriodicTask;

  constructor(parts: SenderParts, logger: Logger, schedule: readonly number[]) {
    this.#parts = parts;
    this.#logger = logger;
    this.#egress = new Egress(parts.egress);
    this.#schedule = schedule;
    this.#warn = rateLimited(5_000, (error) => logger.warn(`webhooks: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS * 5);
  }

  /** Begins to look for messages that are due. */
  start(): void {
    this.#looks.start();
  }

  /** Resolves when the attempts that run have ended. */
  async stop(): Promise<void> {
    await this.#looks.stop();
    await Promise.all([...this.#sending.values()].map(({ work }) => work));
    this.#egress.close();
  }

  /** Begins to send what is due. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const { redis, keys, webhooks } = this.#parts;
    const room = MESSAGES_AT_ONCE - this.#sending.size;
    if (room <= 0) {
      await Promise.race([...this.#sending.values()].map(({ work }) => work));
      return 0;
    }
    let begun = 0;
    for (const id of await takeDue(redis, keys.webhookMessages, TAKEN_MS, room)) {
      const message = await webhooks.read(id);
      if (message === undefined || message.status !== 'pending') {
        await redis.zrem(keys.webhookMessages, id);
        continue;
      }
      const target = `${message.tenant} ${message.endpoint === JOB_ENDPOINT ? new URL(message.url).host : message.endpoint}`;
      const busy = [...this.#sending.values()].filter((one) => one.target === target).length;
      if (busy >= AT_ONCE_TO_ONE || this.#sending.has(id)) {
        await redis.zadd(keys.webhookMessages, 'XX', Date.now() + LOOK_EVERY_MS, id);
        continue;
      }
      begun += 1;
      const work = this.#deliver(message)
        .catch(this.#warn)
        .finally(() => this.#sending.delete(id));
      this.#sending.set(id, { target, work });
    }
    return begun > 0 ? 0 : LOOK_EVERY_MS;
  }

  async #deliver(message: WebhookMessage): Promise<void> {
    const { webhooks } = this.#parts;
    const endpoint =
      message.endpoint === JOB_ENDPOINT
        ? undefined
        : await webhooks.get(message.tenant, message.endpoint).catch(() => undefined);
    if (message.endpoint !== JOB_ENDPOINT && endpoint === undefined)
      return this.#end(message, message.attempts, 'failed', { problem: 'The endpoint was deleted.' });
    // The first attempt of a test or a redelivery is the owner's wish; all others stop with the endpoint.
    if (endpoint !== undefined && endpoint.disabledMs !== null && message.attempts > 0)
      return this.#end(message, message.attempts, 'failed', { problem: 'The endpoint is disabled.' });
    let answer: Answer | undefined;
    let problem = '';
    try {
      const url = endpoint?.url ?? message.url;
      answer = await this.#egress.post(url, this.#headers(message, endpoint), message.body);
    } catch (error) {
      problem = describeFailure(error);
    }
    crashPoint('courier.after-send');
    const sent = message.attempts + 1;
    const isDelivered = answer !== undefined && answer.status >= 200 && answer.status < 300;
    count('countersign_webhook_deliveries_total', { outcome: isDelivered ? 'delivered' : 'failed' });
    if (answer !== undefined && answer.status >= 200 && answer.status < 300)
      return this.#end(message, sent, 'delivered', { answered: answer.status, delivered: Date.now() });
    if (answer?.status === 410) {
      if (endpoint !== undefined) await webhooks.disable(message.tenant, endpoint.id, 'it answered 410 Gone');
      return this.#end(message, sent, 'failed', { answered: 410, problem: 'The receiver is gone (410).' });
    }
    if (answer !== undefined)
      problem =
        answer.status >= 300 && answer.status < 400
          ? `It answered ${answer.status}; redirects are not followed.`
          : `It answered ${answer.status}.`;
    await this.#retry(message, answer, problem);
  }

  #headers(message: WebhookMessage, endpoint: Endpoint | undefined): Record<string, string> {
    const { signingKey } = this.#parts;
    const timestampS = Math.floor(Date.now() / 1_000);
    const sign = (id: string, generation: number) =>
      webhookSecret(signingKey, id, generation).sign(message.id, timestampS, message.body);
    const signatures =
      endpoint === undefined
        ? [sign(`${JOB_ENDPOINT}/${message.tenant}`, 1)]
        : [
            sign(endpoint.id, endpoint.generation),
            ...(endpoint.previousUntilMs !== null && endpoint.previousUntilMs > Date.now()
              ? [sign(endpoint.id, endpoint.generation - 1)]
              : []),
          ];
    return {
      'content-type': 'application/json',
      'user-agent': 'countersign-webhooks/1',
      'webhook-id': message.id,
      'webhook-timestamp': String(timestampS),
      'webhook-signature': signatures.join(' '),
      ...(endpoint?.format === 'cloudevents'
        ? {
            'ce-specversion': '1.0',
            'ce-id': message.id,
            'ce-source': `/tenants/${message.tenant}`,
            'ce-type': `countersign.${message.type}`,
            'ce-time': new Date(message.created).toISOString(),
          }
        : {}),
    };
  }

  async #retry(message: WebhookMessage, answer: Answer | undefined, problem: string): Promise<void> {
    const { redis, keys } = this.#parts;
    const attempts = message.attempts + 1;
    const answered = answer === undefined ? {} : { answered: answer.status };
    const waitMs = webhookRetryMs(this.#schedule, attempts, answer?.retryAfter, Math.random());
    if (waitMs === undefined) return this.#end(message, attempts, 'failed', { ...answered, problem });
    const next = Math.ceil(Date.now() + waitMs);
    await redis
      .multi()
      .hset(keys.webhookMessage(message.id), { attempts, problem, next, ...answered })
      .zadd(keys.webhookMessages, 'XX', next, message.id)
      .exec();
  }

  async #end(
    message: WebhookMessage,
    attempts: number,
    status: 'delivered' | 'failed',
    fields: { answered?: number; delivered?: number; problem?: string },
  ): Promise<void> {
    const { redis, keys } = this.#parts;
    await redis
      .multi()
      .hset(keys.webhookMessage(message.id), { status, attempts, ...fields })
      .hdel(keys.webhookMessage(message.id), 'next', ...(status === 'delivered' ? ['problem'] : []))
      .zrem(keys.webhookMessages, message.id)
      .exec();
    if (status === 'failed') this.#logger.info({ message: message.id, ...fields }, 'a webhook message was given up');
  }
}

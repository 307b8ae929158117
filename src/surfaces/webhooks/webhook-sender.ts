import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { beginSpan, spanning } from '../../ground/tracing/spans.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { integer, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { LOSE } from './lua-parts.ts';
import { DeliveryPlaces, type Asking, type DeliveryPlace } from './delivery-places.ts';
import { describeFailure, Egress, type Answer, type EgressRules } from './egress.ts';
import { afterFailure, formatHealth, isDead, parseHealth, type EndpointHealth } from './endpoint-health.ts';
import { webhookRetryMs } from './webhook-retry.ts';
import { KEEP_MESSAGES_MS, type WebhookMessage, type WebhookMessages } from './webhook-messages.store.ts';
import { JOB_ENDPOINT, MAX_FEED_EVENTS, type Endpoint, type Webhooks } from './webhook.store.ts';

const TAKE = loadScript(new URL('./lua/take-messages.lua', import.meta.url), listOf(listOf(text)));
const SETTLE = loadScript(new URL('./lua/settle-message.lua', import.meta.url), integer, { included: [LOSE] });

const LOOK_EVERY_MS = 100;
const MESSAGES_AT_ONCE = 128;
/** A receiver that has not answered by then is slow: its message gives its place back. */
const SLOW_AFTER_MS = 1_000;
/** Endpoints looked at in one round, those that are due the longest. */
const MAX_DUE = 1_000;
/** An endpoint for which there is no place is looked at again after this. */
const NO_ROOM_MS = 250;
/** Longer than an attempt may take. A message whose courier died is sent again after this. */
const TAKEN_MS = 20_000;

/** What sending needs. */
export interface SenderParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly webhooks: Webhooks;
  readonly messages: WebhookMessages;
  readonly egress: EgressRules;
  /** Seconds to wait before each attempt. */
  readonly schedule: readonly number[];
  /** An endpoint that has taken nothing for so long (ms) is disabled. */
  readonly deadAfterMs: number;
}

/** An endpoint at which something is due. */
interface Due extends Asking {
  readonly health: EndpointHealth | undefined;
}

/** What became of an attempt. */
interface Outcome {
  readonly fields: Record<string, string | number>;
  /** When it is tried again, ms; undefined where it is not. */
  readonly nextMs?: number;
  /** Whether the endpoint took it; undefined where that was not tried. */
  readonly isTaken?: boolean;
  /** To which it was sent, as it was then; undefined for the address of a job. */
  readonly endpoint?: Endpoint | undefined;
}

/**
 * Sends each webhook message at least once, always under the same id. Places are shared fairly by tenant and
 * then by endpoint; who answers late holds none meanwhile, and who fails waits longer and longer, alone. A
 * message that is due is taken for a while, sent, and its outcome recorded. A crash between sending and
 * recording sends it again. Any number of couriers may send at once: a message is taken by one of them.
 */
export class WebhookSender {
  readonly #parts: SenderParts;
  readonly #logger: Logger;
  readonly #egress: Egress;
  readonly #places = new DeliveryPlaces(MESSAGES_AT_ONCE);
  readonly #sending = new Set<Promise<void>>();
  readonly #warn: (error: unknown) => void;
  readonly #looks: PeriodicTask;

  constructor(parts: SenderParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    this.#egress = new Egress(parts.egress);
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
    await Promise.all(this.#sending);
    this.#egress.close();
  }

  /** Begins to send what is due. Returns when to look again, in ms. */
  async #look(): Promise<number> {
    const { redis, keys } = this.#parts;
    const wanted = [...this.#places.share(await this.#due())];
    if (wanted.length === 0) return LOOK_EVERY_MS;
    const now = Date.now();
    let taken: string[][] = [];
    try {
      taken = await TAKE.run(
        redis,
        [keys.webhookMessages],
        [
          keys.prefix,
          now,
          TAKEN_MS,
          ...wanted.flatMap(([{ tenant, target, health }, places]) => [
            tenant,
            target,
            places.length,
            places.length === 0 ? now + NO_ROOM_MS : health === undefined ? '' : now + TAKEN_MS,
          ]),
        ],
      );
    } finally {
      for (const [at, [due, places]] of wanted.entries())
        for (const [nth, place] of places.entries()) {
          const id = taken[at]?.[nth];
          if (id === undefined) place.leave();
          else this.#begin(id, due, place);
        }
    }
    return taken.some((ids) => ids.length > 0) ? 0 : LOOK_EVERY_MS;
  }

  /** The endpoints at which something is due. */
  async #due(): Promise<Due[]> {
    const { redis, keys } = this.#parts;
    const names = await redis.zrangebyscore(keys.webhookMessages, '-inf', Date.now(), 'LIMIT', 0, MAX_DUE);
    if (names.length === 0) return [];
    const healths = await redis.hmget(keys.webhookHealth, ...names);
    return names.map((name, at) => {
      const [tenant = '', target = ''] = name.split(' ');
      const health = parseHealth(healths[at]);
      return { tenant, target, health, isFailing: health !== undefined };
    });
  }

  #begin(id: string, due: Due, place: DeliveryPlace): void {
    const slow = setTimeout(() => {
      place.stepAside();
      this.#looks.wake();
    }, SLOW_AFTER_MS);
    const work: Promise<void> = this.#send(id, due)
      .catch(this.#warn)
      .finally(() => {
        clearTimeout(slow);
        place.leave();
        this.#sending.delete(work);
        this.#looks.wake();
      });
    this.#sending.add(work);
  }

  async #send(id: string, due: Due): Promise<void> {
    const message = await this.#parts.messages.read(id);
    const isPending = message?.status === 'pending';
    const outcome: Outcome = isPending ? await this.#attempt(message) : { fields: {} };
    const now = Date.now();
    const { endpoint } = outcome;
    const health = outcome.isTaken === false ? afterFailure(healthSince(due.health, endpoint), now) : undefined;
    await SETTLE.run(
      this.#parts.redis,
      [this.#parts.keys.webhookMessages, this.#parts.keys.webhookHealth, this.#parts.keys.webhookWaiting],
      [
        this.#parts.keys.prefix,
        due.tenant,
        due.target,
        id,
        outcome.nextMs ?? '',
        outcome.isTaken === undefined ? 'same' : health === undefined ? '' : formatHealth(health),
        health?.untilMs ?? 0,
        MAX_FEED_EVENTS,
        new Date(now).toISOString(),
        ...Object.entries(outcome.fields).flat(),
      ],
    );
    if (outcome.fields['status'] === 'failed')
      this.#logger.info({ message: id, ...outcome.fields }, 'a webhook message was given up');
    if (health !== undefined && endpoint !== undefined && isDead(health, now, this.#parts.deadAfterMs))
      await this.#disable(due.tenant, endpoint, `it has taken nothing since ${new Date(health.sinceMs).toISOString()}`);
  }

  async #attempt(message: WebhookMessage): Promise<Outcome> {
    const { webhooks } = this.#parts;
    const isOwn = message.endpoint === JOB_ENDPOINT;
    const endpoint = isOwn ? undefined : await webhooks.find(message.tenant, message.endpoint);
    if (!isOwn && endpoint === undefined) return givenUp(message.attempts, 'The endpoint was deleted.');
    // What its owner asks for by hand is sent once, disabled or not.
    const isAskedFor = message.byHand > 0 && message.attempts === 0;
    if (endpoint !== undefined && endpoint.disabledMs !== null && !isAskedFor)
      return givenUp(message.attempts, 'The endpoint is disabled.');
    let answer: Answer | undefined;
    let problem = '';
    try {
      answer = await this.#post(message, endpoint);
    } catch (error) {
      problem = describeFailure(error);
    }
    crashPoint('courier.after-send');
    const attempts = message.attempts + 1;
    const isTaken = answer !== undefined && answer.status >= 200 && answer.status < 300;
    count('countersign_webhook_deliveries_total', { outcome: isTaken ? 'delivered' : 'failed' });
    if (isTaken)
      return {
        fields: { status: 'delivered', attempts, answered: answer?.status ?? 0, delivered: Date.now(), problem: '' },
        isTaken,
      };
    if (answer?.status === 410) {
      if (endpoint !== undefined) await this.#disable(message.tenant, endpoint, 'it answered 410 Gone');
      return { fields: { status: 'failed', attempts, answered: 410, problem: 'The receiver is gone (410).' } };
    }
    const why = answer === undefined ? problem : problemOf(answer);
    return { ...this.#retry(message, attempts, answer, why), isTaken, endpoint };
  }

  /** Sends it once, and where its job is traced, lets the receiver go on with the trace. */
  #post(message: WebhookMessage, endpoint: Endpoint | undefined): Promise<Answer> {
    const url = endpoint?.url ?? message.url;
    const span = beginSpan('webhook', 'POST', message.trace);
    span?.note({ 'http.request.method': 'POST', 'server.address': new URL(url).hostname });
    return spanning(
      span,
      async () => {
        const headers = await this.#headers(message, endpoint);
        return this.#egress.post(
          url,
          span === undefined ? headers : { ...headers, traceparent: span.traceparent },
          message.body,
        );
      },
      ({ status }) => ({ 'http.response.status_code': status }),
    );
  }

  /** When the message is tried again; never after the time for which it is kept. */
  #retry(message: WebhookMessage, attempts: number, answer: Answer | undefined, problem: string): Outcome {
    const answered = answer === undefined ? {} : { answered: answer.status };
    const waitMs = webhookRetryMs(this.#parts.schedule, attempts, answer?.retryAfter, Math.random());
    if (waitMs === undefined) return { fields: { status: 'failed', attempts, problem, ...answered } };
    const nextMs = Math.ceil(Date.now() + waitMs);
    if (nextMs < (message.from ?? message.created) + KEEP_MESSAGES_MS)
      return { fields: { attempts, problem, ...answered }, nextMs };
    const late = `${problem} The next try would come after the seven days for which messages are kept.`;
    return { fields: { status: 'failed', attempts, problem: late, ...answered } };
  }

  /** Sends nothing more to the endpoint, and tells its owner in the feed. */
  async #disable(tenant: string, endpoint: Endpoint, because: string): Promise<void> {
    if (!(await this.#parts.webhooks.disable(tenant, endpoint, because))) return;
    this.#logger.warn({ tenant, endpoint: endpoint.id }, `a webhook endpoint was disabled: ${because}`);
  }

  async #headers(message: WebhookMessage, endpoint: Endpoint | undefined): Promise<Record<string, string>> {
    const timestampS = Math.floor(Date.now() / 1_000);
    return {
      'content-type': 'application/json',
      'user-agent': 'countersign-webhooks/1',
      'webhook-id': message.id,
      'webhook-timestamp': String(timestampS),
      'webhook-signature': await this.#parts.webhooks.signatures(message.tenant, endpoint, {
        id: message.id,
        timestampS,
        body: message.body,
      }),
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
}

/** What befell an endpoint since its owner changed it. */
function healthSince(health: EndpointHealth | undefined, endpoint: Endpoint | undefined): EndpointHealth | undefined {
  return health !== undefined && health.sinceMs < (endpoint?.changedMs ?? 0) ? undefined : health;
}

function givenUp(attempts: number, problem: string): Outcome {
  return { fields: { status: 'failed', attempts, problem } };
}

function problemOf({ status }: Answer): string {
  return status >= 300 && status < 400
    ? `It answered ${status}; redirects are not followed.`
    : `It answered ${status}.`;
}

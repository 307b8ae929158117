import { setTimeout as pause } from 'node:timers/promises';
import { Worker, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { CONSUMER_OPTIONS } from '../../ground/bull/consumer.ts';
import type { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { redisOptions, type RedisAccess } from '../../ground/redis/connection.ts';
import { queueName } from '../../ground/redis/keys.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import type { Claim } from '../execution/claims.ts';
import { deliveredJobs } from '../execution/pool-consumer.processor.ts';
import { ACKNOWLEDGE_MS, MOST_LEASES, type AskLeases, type Lease } from '../remote/wire.ts';
import type { Leases } from './leases.ts';

const AFTER_FAILURE_MS = 500;
const MOST_ASKS = 5_000;
/** What waits already is found in this time (ms), also by who does not want to wait. */
const LEAST_WAIT_MS = 250;
/** Requests for leases of one worker that wait at once. */
const MOST_ASKS_EACH = 4;

interface DeliveryParts {
  readonly redis: Redis;
  readonly access: RedisAccess;
  /** The prefix of the queues of the pool. */
  readonly prefix: string;
  readonly pool: string;
  readonly models: readonly string[];
  readonly queues: PoolQueues;
  readonly leases: Leases;
  readonly logger: Logger;
}

/** A worker that waits for jobs. */
interface Ask {
  readonly worker: string;
  /** How many more jobs of each model it takes. */
  readonly room: Map<string, number>;
  readonly leases: Lease[];
  /** A delivery is being claimed for it. */
  isServed: boolean;
  /** Nobody waits for the answer any more. */
  isOver: boolean;
  readonly settle: () => void;
}

/** One model: who waits for its jobs stands in the list of all. */
interface Source {
  readonly model: string;
  readonly queue: string;
  readonly worker: Worker;
  isTaking: boolean;
}

/**
 * Takes deliveries for the workers behind a gateway, and only while one of them waits: direct workers of the
 * pool, and other gateways, take from the same queues. A delivery is over once its jobs are claimed; from
 * there on their leases decide. If this process dies before, BullMQ delivers again; if it dies after, the
 * leases, which nobody has acknowledged, run out in a moment, and no attempt is used up.
 */
export class Deliveries {
  readonly #parts: DeliveryParts;
  readonly #sources: readonly Source[];
  readonly #asks = new Set<Ask>();
  readonly #warn: (error: unknown) => void;
  #isClosing = false;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) => {
      if (!this.#isClosing) parts.logger.warn({ suppressed }, `queue: ${messageOf(error).slice(0, 300)}`);
    });
    this.#sources = parts.models.map((model) => this.#source(model));
  }

  /** How many requests for leases wait. */
  get waiting(): number {
    return this.#asks.size;
  }

  /** Begins to look after deliveries whose taker died. */
  async start(): Promise<void> {
    await Promise.all(this.#sources.map(({ worker }) => worker.waitUntilReady()));
    for (const { worker } of this.#sources) void worker.startStalledCheckTimer();
  }

  /**
   * Jobs for a worker, as soon as there are any, or none after `wait_ms`, or a moment where that is shorter,
   * or when the signal is aborted.
   * Throws CodedError `too_many_asks`.
   */
  async ask(worker: string, { models, wait_ms: waitMs }: AskLeases, signal: AbortSignal): Promise<readonly Lease[]> {
    if (this.#isClosing)
      throw new CodedError('gateway_away', 'This gateway is being ended; ask another, or in a moment.', {
        headers: { 'retry-after': '1' },
      });
    const own = [...this.#asks].filter((ask) => ask.worker === worker).length;
    if (this.#asks.size >= MOST_ASKS || own >= MOST_ASKS_EACH)
      throw new CodedError('too_many_asks', 'Too many requests for leases wait already; ask again in a moment.', {
        headers: { 'retry-after': '1' },
      });
    let settle: () => void = () => undefined;
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const room = new Map(models.map(({ name, slots }) => [name, slots]));
    const ask: Ask = { worker, room, leases: [], isServed: false, isOver: false, settle };
    this.#asks.add(ask);
    const over = () => {
      ask.isOver = true;
      // What is being claimed for it is handed over first.
      if (!ask.isServed) settle();
    };
    const timer = setTimeout(over, Math.max(waitMs, LEAST_WAIT_MS));
    signal.addEventListener('abort', over, { once: true });
    for (const source of this.#sources) if (room.has(source.model)) void this.#take(source);
    await settled;
    clearTimeout(timer);
    signal.removeEventListener('abort', over);
    this.#asks.delete(ask);
    return ask.leases;
  }

  /** Answers who waits with nothing, so that they ask elsewhere. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const ask of this.#asks) if (!ask.isServed) ask.settle();
    await Promise.all(this.#sources.map(({ worker }) => worker.close(true)));
  }

  #source(model: string): Source {
    const { access, prefix, pool } = this.#parts;
    const queue = queueName(pool, model);
    const worker = new Worker(queue, null, {
      ...CONSUMER_OPTIONS,
      connection: redisOptions(access, 'patient'),
      prefix,
      autorun: false,
      // Our epochs count the attempts; BullMQ must not give a job up by itself.
      maxStalledCount: 1_000_000,
    });
    worker.on('error', this.#warn);
    return { model, queue, worker, isTaking: false };
  }

  /**
   * The next who waits for a job of this model. Whoever was served asks anew, and stands behind the others.
   */
  #next({ model }: Source): Ask | undefined {
    for (const ask of this.#asks) if (!ask.isServed && !ask.isOver && (ask.room.get(model) ?? 0) > 0) return ask;
    return undefined;
  }

  /** Takes deliveries of a model for as long as somebody waits for them. */
  async #take(source: Source): Promise<void> {
    if (source.isTaking) return;
    source.isTaking = true;
    while (!this.#isClosing && this.#next(source) !== undefined) {
      try {
        await this.#deliver(source);
      } catch (error) {
        this.#warn(error);
        await pause(AFTER_FAILURE_MS);
      }
    }
    source.isTaking = false;
  }

  /** Waits for a delivery, and gives it and what comes at once behind it to the next who waits. */
  async #deliver(source: Source): Promise<void> {
    const first = await taken(source.worker, true);
    if (first === undefined) return;
    const ask = this.#next(source);
    if (ask === undefined) {
      await first.job.moveToWait(first.token);
      return;
    }
    ask.isServed = true;
    try {
      await this.#serve(source, ask, first);
      while (this.#hasRoom(source, ask)) {
        const more = await taken(source.worker, false);
        if (more === undefined) break;
        await this.#serve(source, ask, more);
      }
    } finally {
      ask.isServed = false;
      if (ask.leases.length > 0 || ask.isOver || this.#isClosing) {
        ask.isOver = true;
        ask.settle();
      }
    }
  }

  #hasRoom({ model }: Source, { room, leases }: Ask): boolean {
    return (room.get(model) ?? 0) > 0 && leases.length < MOST_LEASES;
  }

  /** Claims the jobs of a delivery for a worker; what it does not take goes back for others. */
  async #serve({ model, queue }: Source, ask: Ask, { job, token }: Taken): Promise<void> {
    const all = [...deliveredJobs(job)];
    const room = Math.min(ask.room.get(model) ?? 0, MOST_LEASES - ask.leases.length);
    const [mine, rest] = [all.slice(0, room), all.slice(room)];
    const claims = this.#parts.leases.claimsOf(ask.worker);
    const replies = await Promise.all(mine.map(([, id]) => claims.claim(id, freshRandom(8).toString('hex'), false)));
    const later: string[] = [];
    let afterMs = 0;
    for (const [at, reply] of replies.entries()) {
      if (reply.kind === 'ok') await this.#grant(ask, model, reply.claim);
      if (reply.kind !== 'later') continue;
      later.push(mine[at]?.[0] ?? '');
      afterMs = Math.max(afterMs, reply.afterMs);
    }
    await this.#parts.queues.add(
      queue,
      rest.map(([name]) => [name]),
    );
    await finish(job, token, later, afterMs);
  }

  async #grant({ room, leases }: Ask, model: string, claim: Claim): Promise<void> {
    const { id, epoch, secret, ticket, input, trace } = claim;
    const deadline = Date.parse(readTicket(id, ticket).ticket.predicate.deadline);
    // Redis' clock, and not that of this machine.
    const [seconds = 0] = await this.#parts.redis.time();
    leases.push({
      job: id,
      model,
      epoch,
      secret,
      ticket,
      input: input ?? null,
      remaining_ms: deadline - seconds * 1_000,
      acknowledge_within_ms: ACKNOWLEDGE_MS,
      ...(trace === undefined ? {} : { trace }),
    });
    room.set(model, (room.get(model) ?? 1) - 1);
  }
}

/** A delivery, and the token of its lock. */
interface Taken {
  readonly job: Job;
  readonly token: string;
}

/** The next delivery of a queue: at once, or after a while, or none. */
async function taken(worker: Worker, block: boolean): Promise<Taken | undefined> {
  const token = freshRandom(8).toString('hex');
  const job = await nextOf(worker, token, block);
  return job === undefined ? undefined : { job, token };
}

/** BullMQ's own type leaves out that there may be none. */
function nextOf(worker: Worker, token: string, block: boolean): Promise<Job | undefined> {
  return worker.getNextJob(token, { block });
}

/** Ends a delivery, or puts it off with those of its jobs that may not be run now. */
async function finish(job: Job, token: string, later: readonly string[], afterMs: number): Promise<void> {
  if (later.length === 0) {
    await job.moveToCompleted(null, token, false);
    return;
  }
  await job.updateData({ jobs: later });
  await job.moveToDelayed(Date.now() + afterMs, token);
}

import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { EnrolmentRequest, openEnrolment, type Facts } from '../registry/enrolment.ts';
import type { EnrolmentState } from '../remote/wire.ts';

const KEEP = loadScript(new URL('./lua/keep-ask.lua', import.meta.url), oneOf('kept', 'full'));

const MOST_ASKS = 1_000;
/** Where fewer wait, nobody is kept from asking, and their signatures are not looked at. */
const CROWDED = MOST_ASKS / 2;
/** Evidence of hardware is handed to the operator by other ways: what anybody may leave here is short. */
const MOST_FACTS = 8_192;
const MOST_STORED = 16_384;

/** Somebody who wants to be a worker of a pool. */
export interface EnrolmentAsk {
  readonly worker: string;
  readonly request: EnrolmentRequest;
  readonly facts: Facts;
}

/**
 * Who asks a gateway to be enrolled in a pool, and what the operator said. It ends where the operator
 * decides, by the list of workers or by a refusal, which is final.
 */
export class EnrolmentAsks {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #pool: string;

  constructor(redis: Redis, keys: RedisKeys, pool: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#pool = pool;
  }

  /** What a request says, once its signature verifies. Throws CodedError `enrolment_refused`. */
  factsOf(request: EnrolmentRequest): Facts {
    return opened(request);
  }

  /**
   * Leaves the signed request of a worker for the operator, unless it was decided, and returns where that
   * stands. Throws CodedError `enrolment_refused` where the request is not signed by its own key, or
   * `too_many_asks`.
   */
  async ask(request: EnrolmentRequest): Promise<EnrolmentState> {
    const { worker } = opened(request);
    const [isEnrolled, why] = await Promise.all([
      this.#redis.sismember(this.#keys.enrolled(this.#pool), worker),
      this.#redis.hget(this.#keys.enrolmentRefusals(this.#pool), worker),
    ]);
    if (isEnrolled === 1) return { worker, state: 'enrolled', why: null };
    if (why !== null) return { worker, state: 'refused', why: why.slice(0, 500) };
    const asks = this.#keys.enrolmentAsks(this.#pool);
    if ((await KEEP.run(this.#redis, [asks], [worker, JSON.stringify(request), MOST_ASKS])) === 'full')
      throw new CodedError(
        'too_many_asks',
        'Too many ask to be enrolled already; ask again when the operator has decided.',
        {
          headers: { 'retry-after': '60' },
        },
      );
    return { worker, state: 'pending', why: null };
  }

  /** Who asks now. What is too long or not signed by its own key is nobody. */
  async all(): Promise<EnrolmentAsk[]> {
    const asks = this.#keys.enrolmentAsks(this.#pool);
    const found: EnrolmentAsk[] = [];
    for (const worker of (await this.#redis.hkeys(asks)).slice(0, MOST_ASKS)) {
      if ((await this.#redis.hstrlen(asks, worker)) > MOST_STORED) continue;
      const ask = askIn((await this.#redis.hget(asks, worker)) ?? '');
      if (ask?.worker === worker) found.push(ask);
    }
    return found;
  }

  /**
   * Makes room where many wait: what is not signed by its own key was written past the gateways, by a worker
   * of the pool with a login, and keeps nobody else from asking. Returns how many went.
   */
  async tidy(): Promise<number> {
    const asks = this.#keys.enrolmentAsks(this.#pool);
    const waiting = await this.#redis.hlen(asks);
    if (waiting < CROWDED) return 0;
    const known = waiting > MOST_ASKS ? [] : await this.all();
    const kept = new Set(known.map(({ worker }) => worker));
    // More than gateways keep is nobody's: whoever does ask does so again.
    if (kept.size === 0) return (await this.#redis.unlink(asks)) === 1 ? waiting : 0;
    const strange = (await this.#redis.hkeys(asks)).filter((worker) => !kept.has(worker));
    return strange.length === 0 ? 0 : this.#redis.hdel(asks, ...strange);
  }

  /** Refuses a worker for good. */
  async refuse(worker: string, why: string): Promise<void> {
    await this.#redis.hset(this.#keys.enrolmentRefusals(this.#pool), worker, why);
    await this.forget(worker);
  }

  /** Takes what a worker asked away, once it is on the list. */
  async forget(worker: string): Promise<void> {
    await this.#redis.hdel(this.#keys.enrolmentAsks(this.#pool), worker);
  }
}

function opened(request: EnrolmentRequest): Facts {
  if (request.facts.length > MOST_FACTS)
    throw new CodedError('enrolment_refused', `What a worker says of itself here has at most ${MOST_FACTS} bytes.`);
  // Whoever takes over from another key does that with the operator, who knows both.
  return openEnrolment(request, () => undefined).facts;
}

function askIn(text: string): EnrolmentAsk | undefined {
  try {
    const request = EnrolmentRequest.parse(JSON.parse(text));
    const facts = opened(request);
    return { worker: facts.worker, request, facts };
  } catch {
    return undefined;
  }
}

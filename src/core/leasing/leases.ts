import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { isOfPool, type RedisKeys } from '../../ground/redis/keys.ts';
import { Claims, type Claim, type CommitReply } from '../execution/claims.ts';
import { RENEW } from '../execution/renew.ts';
import { tokenOf } from '../jobs/begun.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { ACKNOWLEDGE_MS, type Commit, type Pieces, type Renewed } from '../remote/wire.ts';
import { isOfAnotherType } from '../../ground/redis/reply.ts';
import { RedisPieces } from '../execution/chunk-stream.ts';
import { checkedEvidence, checkedRelease } from './statement-check.ts';
import type { Caller } from './signed-request.ts';

/** So many workers, and leases, are remembered, those that were heard of last. */
const MOST_REMEMBERED = 10_000;

/** Names a lease, as its worker does. */
export interface Held {
  readonly job: string;
  readonly epoch: number;
  readonly secret: string;
}

interface LeaseParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly pool: string;
  readonly leaseMs: number;
}

/**
 * The leases of the workers behind the gateways of a pool. All that a worker asks is done in the name that
 * its signature shows, so that it reaches no lease but its own. Any number of gateways and calls at once.
 */
export class Leases {
  readonly #parts: LeaseParts;
  readonly #desks = new Map<string, Claims>();
  /** By its lease, the number of its last piece and the length of all. */
  readonly #written = new Map<string, { readonly last: number; readonly length: number }>();

  constructor(parts: LeaseParts) {
    this.#parts = parts;
  }

  /** Claims for a worker. A lease is short until it is acknowledged, by a renewal or by its beginning. */
  claimsOf(worker: string): Claims {
    const { redis, keys } = this.#parts;
    const claims = this.#desks.get(worker) ?? new Claims(redis, keys, worker, ACKNOWLEDGE_MS);
    remember(this.#desks, worker, claims);
    return claims;
  }

  /** Renews what the worker still holds; of each lease, whether its work goes on. */
  async renew(worker: string, held: readonly Held[]): Promise<Renewed['leases']> {
    const { redis, keys, leaseMs } = this.#parts;
    const own = held.filter(({ job }) => this.#isHere(job));
    const args = own.flatMap((one) => [one.job, valueOf(worker, one)]);
    const [first] = own;
    const replies =
      first === undefined ? [] : await RENEW.run(redis, [keys.lease(first.job)], [keys.prefix, leaseMs, ...args]);
    const of = new Map(own.map((one, at) => [one, replies[at]]));
    return held.map((one) => (of.get(one) === 1 ? 'renewed' : of.get(one) === 2 ? 'cancelled' : 'lost'));
  }

  /** Throws CodedError `lease_lost` unless the worker holds this lease now. */
  async requireHeld(worker: string, held: Held): Promise<void> {
    if (await this.#isHeld(worker, held)) return;
    throw new CodedError('lease_lost', 'This worker does not hold that lease, or not any more.');
  }

  /**
   * Commits what a worker says of a lease, once its signature and its sizes were looked at. Throws CodedError
   * `statement_invalid`.
   */
  async commit({ worker, key }: Caller, job: string, said: Commit): Promise<CommitReply> {
    if (!this.#isHere(job)) return 'fenced';
    const claim: Claim = { id: job, epoch: said.epoch, ...secretsOf(said), ticket: '', input: undefined };
    const claims = this.claimsOf(worker);
    switch (said.kind) {
      case 'begin': {
        const reply = await claims.begin(claim);
        if (reply === 'ok') await this.renew(worker, [{ job, ...said }]);
        return reply;
      }
      case 'evidence':
        return claims.commitEvidence(claim, checkedEvidence(key, { job, ...said }), said.output, said.tokens);
      case 'release':
        return claims.release(claim, checkedRelease(key, { job, ...said }));
    }
  }

  /**
   * Writes pieces of leases that the worker holds. Of each lease a number is written once, in its order, and
   * no more in all than the longest output.
   */
  async write(worker: string, pieces: Pieces['pieces']): Promise<void> {
    const { redis, keys, pool } = this.#parts;
    const stream = new RedisPieces(redis, keys, pool, worker);
    const isHeld = new Map<string, boolean>();
    for (const piece of pieces) {
      const lease = `${piece.job} ${valueOf(worker, piece)}`;
      const held = isHeld.get(lease) ?? (await this.#isHeld(worker, piece));
      isHeld.set(lease, held);
      if (held && this.#mayWrite(lease, piece.number, piece.text))
        stream.send({ id: piece.job, epoch: piece.epoch }, piece.number, piece.text);
    }
  }

  #mayWrite(lease: string, number: number, text: string): boolean {
    const { last, length } = this.#written.get(lease) ?? { last: 0, length: 0 };
    if (number <= last || length + text.length > MAX_OUTPUT_BYTES) return false;
    remember(this.#written, lease, { last: number, length: length + text.length });
    return true;
  }

  async #isHeld(worker: string, held: Held): Promise<boolean> {
    const { redis, keys } = this.#parts;
    if (!this.#isHere(held.job)) return false;
    // A key of another type is another worker's doing: the lease is lost, and no other with it.
    const value = await redis.get(keys.lease(held.job)).catch(ifSpoilt);
    return value === valueOf(worker, held);
  }

  #isHere(job: string): boolean {
    return isOfPool(job, this.#parts.pool);
  }
}

/** The value of a lease in Redis: it names the worker, so that nobody renews or uses another's. */
function valueOf(worker: string, { epoch, secret }: Pick<Held, 'epoch' | 'secret'>): string {
  return `${epoch} ${worker} ${tokenOf(secret)}`;
}

function ifSpoilt(error: unknown): undefined {
  if (!isOfAnotherType(error)) throw error;
}

function remember<Value>(map: Map<string, Value>, name: string, value: Value): void {
  map.delete(name);
  map.set(name, value);
  const [oldest] = map.keys();
  if (map.size > MOST_REMEMBERED && oldest !== undefined) map.delete(oldest);
}

function secretsOf({ secret }: { readonly secret: string }): Pick<Claim, 'secret' | 'token'> {
  return { secret, token: tokenOf(secret) };
}

import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { PoolQueues, type FairDelivery, type QueuedJob } from '../../ground/bull/fair-queues.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { FinalState, JobState } from '../../proof/contract/job-states.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { cells, described, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const RULE = loadScript(new URL('./lua/rule.lua', import.meta.url), listOf(parseOutcome));

/** The sweep looks at a job again this long after it was queued anew. */
const REQUEUE_LOOK_MS = 2_000;

type OpenState = Exclude<JobState, FinalState>;

/** One decision about one job, valid only in the epoch and phases that it names. */
export interface Ruling {
  readonly id: string;
  readonly epoch: number;
  readonly phases: readonly OpenState[];
  readonly action:
    | { readonly kind: 'end'; readonly state: Exclude<FinalState, 'done'> }
    | { readonly kind: 'close'; readonly why: 'refuted' | 'released' | 'voted' }
    | { readonly kind: 'lost' };
  /** A stable word for programs. */
  readonly code: string;
  /** A sentence for people, without anything about other tenants. */
  readonly detail: string;
  readonly verdict?: { readonly signed: SignedPayload; readonly field: string };
}

export type RulingReply =
  | { readonly kind: 'ended'; readonly state: string }
  | { readonly kind: 'requeued' }
  | { readonly kind: 'already'; readonly state: string }
  | { readonly kind: 'missing' | 'fenced' | 'held' | 'logged' };

/**
 * The only writer of ends that have no place in the log. Rules in batches; a job that is to run again is
 * delivered again.
 */
@Injectable()
export class Rulings {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #queues: PoolQueues;

  constructor(redis: Redis, keys: RedisKeys, queues: PoolQueues) {
    this.#redis = redis;
    this.#keys = keys;
    this.#queues = queues;
  }

  /**
   * Applies the rulings, each by itself. A crash after the script and before the delivery leaves a queued job
   * without one; the sweep adds it.
   */
  async apply(rulings: readonly Ruling[]): Promise<RulingReply[]> {
    if (rulings.length === 0) return [];
    const keys = this.#keys;
    const args = rulings.flatMap((ruling) => [
      ruling.id,
      ruling.epoch,
      ruling.phases.join(' '),
      ruling.action.kind,
      ruling.action.kind === 'end' ? ruling.action.state : ruling.action.kind === 'close' ? ruling.action.why : 'lost',
      ruling.code,
      ruling.detail,
      ruling.verdict ? encodeStored(ruling.verdict.signed) : '',
      ruling.verdict?.field ?? '',
    ]);
    const outcomes = await RULE.run(this.#redis, [keys.open, keys.unsealed], [keys.prefix, REQUEUE_LOOK_MS, ...args]);
    crashPoint('attestor.before-requeue');
    const requeued = new Map<string, FairDelivery<QueuedJob>[]>();
    rulings.forEach(({ id, epoch }, index) => {
      const outcome = outcomes[index];
      if (outcome?.kind !== 'requeued') return;
      const { queue, tenant, cost } = outcome;
      const list = requeued.get(queue) ?? [];
      list.push({ name: deliveryName(id, epoch), data: { id }, tenant, cost });
      requeued.set(queue, list);
    });
    // A queue that its workers have spoilt is repaired, and then the sweep delivers again.
    await Promise.allSettled([...requeued].map(([queue, deliveries]) => this.#queues.add(queue, deliveries)));
    return outcomes.map((outcome) => (outcome.kind === 'requeued' ? { kind: outcome.kind } : outcome));
  }
}

/** What the script answers; of a requeued job also what its delivery needs. */
type Outcome =
  | Exclude<RulingReply, { readonly kind: 'requeued' }>
  | { readonly kind: 'requeued'; readonly queue: string; readonly tenant: string; readonly cost: number };

function parseOutcome(row: unknown): Outcome {
  const [kind, value, queue, tenant, cost] = cells(row);
  switch (kind) {
    case 'ended':
    case 'already':
      return { kind, state: text(value) };
    case 'requeued':
      return { kind, queue: text(queue), tenant: text(tenant), cost: Number(cost) };
    case 'missing':
    case 'fenced':
    case 'held':
    case 'logged':
      return { kind };
    default:
      throw new Error(described(kind));
  }
}

/** The BullMQ id of the delivery that follows an epoch: the job's own id at first. */
export function deliveryName(id: string, afterEpoch: number): string {
  return afterEpoch === 0 ? id : `${id}-${afterEpoch}`;
}

import type { Redis } from 'ioredis';
import type { QueuedJob, FairDelivery, FairQueues } from '../../ground/bull/fair-queues.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { FinalState, JobState } from '../../proof/contract/job-states.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { loadScript } from '../../ground/redis/script.ts';

const RULE = loadScript(new URL('./lua/rule.lua', import.meta.url));

const WAKE_STREAM_LENGTH = 10_000;
/** The sweep looks at a job again this long after it was queued anew. */
const REQUEUE_LOOK_MS = 2_000;

type OpenState = Exclude<JobState, FinalState>;

/** One decision about one job, valid only in the epoch and phases that it names. */
export interface Ruling {
  readonly id: string;
  readonly epoch: number;
  readonly phases: readonly OpenState[];
  readonly action:
    | { readonly kind: 'end'; readonly state: FinalState }
    | { readonly kind: 'close'; readonly why: 'refuted' | 'released' | 'voted' }
    | { readonly kind: 'lost' };
  /** A stable word for programs. */
  readonly code: string;
  /** A sentence for people, without anything about other tenants. */
  readonly detail: string;
  readonly verdict?: { readonly signed: SignedPayload; readonly field: string };
  /**
   * The size of a published checkpoint by which the verdict stands in the log; without it, nothing is done.
   */
  readonly logSize?: number;
}

export type RulingReply =
  | { readonly kind: 'ended'; readonly state: string }
  | { readonly kind: 'requeued' }
  | { readonly kind: 'already'; readonly state: string }
  | { readonly kind: 'missing' | 'fenced' | 'held' | 'cancelled' | 'unlogged' };

/** The only writer of ends. Rules in batches; a job that is to run again is delivered again. */
export class Rulings {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #queues: FairQueues<QueuedJob>;

  constructor(redis: Redis, keys: RedisKeys, queues: FairQueues<QueuedJob>) {
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
      // A confirmation's verdict was kept when it was given its place in the log.
      ruling.verdict && ruling.logSize === undefined ? encodeStored(ruling.verdict.signed) : '',
      ruling.verdict?.field ?? '',
      ruling.logSize ?? '',
    ]);
    const reply = await RULE.run(
      this.#redis,
      [keys.open, keys.ended, keys.attestorWake],
      [keys.prefix, WAKE_STREAM_LENGTH, REQUEUE_LOOK_MS, ...args],
    );
    if (!Array.isArray(reply)) throw new Error('rule.lua answered something else than a list.');
    crashPoint('attestor.before-requeue');
    const requeued = new Map<string, FairDelivery<QueuedJob>[]>();
    const replies = rulings.map((ruling, index): RulingReply => {
      const cells: unknown = reply[index];
      const [kind, value, queue, tenant, cost]: unknown[] = Array.isArray(cells) ? (cells as unknown[]) : [];
      switch (kind) {
        case 'ended':
        case 'already':
          return { kind, state: String(value) };
        case 'requeued': {
          const list = requeued.get(String(queue)) ?? [];
          list.push({
            name: deliveryName(ruling.id, ruling.epoch),
            data: { id: ruling.id },
            tenant: String(tenant),
            cost: Number(cost),
          });
          requeued.set(String(queue), list);
          return { kind };
        }
        case 'missing':
        case 'fenced':
        case 'held':
        case 'cancelled':
        case 'unlogged':
          return { kind };
        default:
          throw new Error(`rule.lua answered ${String(kind)}.`);
      }
    });
    await Promise.all([...requeued].map(([queue, deliveries]) => this.#queues.add(queue, deliveries)));
    return replies;
  }
}

/** The BullMQ id of the delivery that follows an epoch: the job's own id at first. */
export function deliveryName(id: string, afterEpoch: number): string {
  return afterEpoch === 0 ? id : `${id}-${afterEpoch}`;
}

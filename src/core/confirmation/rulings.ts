import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Backlog } from '../backlog/backlog.ts';
import { FAIR_PLACE, LANES, LATER, LEAVE, RETRY_BUDGET, TURNS } from '../backlog/lua-parts.ts';
import { BEGUN } from '../jobs/lua-parts.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { MAX_EPOCHS } from '../jobs/job.reader.ts';
import { RESERVE } from '../jobs/reserve.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { FinalState } from '../../proof/contract/job-states.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { cells, described, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Phase } from './case-file.ts';

const RULE = loadScript(new URL('./lua/rule.lua', import.meta.url), listOf(parseOutcome), {
  included: [BEGUN, LANES, TURNS, FAIR_PLACE, RETRY_BUDGET, LATER, LEAVE, RESERVE],
});

/** One decision about one job, valid only in the epoch and phases that it names. */
export interface Ruling {
  readonly id: string;
  readonly epoch: number;
  readonly phases: readonly Phase[];
  readonly action:
    | { readonly kind: 'end'; readonly state: Exclude<FinalState, 'done'> }
    | {
        readonly kind: 'close';
        readonly why: 'refuted' | 'released' | 'voted' | 'void';
        /** Nobody is left who may try: the job ends, whatever attempts it has left. */
        readonly isLast?: boolean;
      }
    /** Its worker is lost, or else nothing happens; `isLast` as above, where its engine had begun. */
    | { readonly kind: 'lost'; readonly isLast?: boolean };
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
 * The only writer of ends that have no place in the log. Rules in batches; a job that is to run again waits
 * again, and is released.
 */
@Injectable()
export class Rulings {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #backlog: Backlog;

  constructor(redis: Redis, keys: RedisKeys, backlog: Backlog) {
    this.#redis = redis;
    this.#keys = keys;
    this.#backlog = backlog;
  }

  /**
   * Applies the rulings, each by itself. A job that is to run again is in the backlog in the same step; after
   * a crash right then, another process releases it.
   */
  async apply(rulings: readonly Ruling[]): Promise<RulingReply[]> {
    if (rulings.length === 0) return [];
    const keys = this.#keys;
    const args = rulings.flatMap((ruling) => [
      ruling.id,
      ruling.epoch,
      ruling.phases.join(' '),
      wordOf(ruling.action),
      ruling.action.kind === 'end' ? ruling.action.state : ruling.action.kind === 'close' ? ruling.action.why : 'lost',
      ruling.code,
      ruling.detail,
      ruling.verdict ? encodeStored(ruling.verdict.signed) : '',
      ruling.verdict?.field ?? '',
    ]);
    const outcomes = await RULE.run(this.#redis, [keys.open, keys.unsealed], [keys.prefix, MAX_EPOCHS, ...args]);
    crashPoint('attestor.before-requeue');
    const queues = new Set(outcomes.flatMap((outcome) => (outcome.kind === 'requeued' ? [outcome.queue] : [])));
    await this.#backlog.release([...queues]);
    return outcomes.map((outcome) => (outcome.kind === 'requeued' ? { kind: outcome.kind } : outcome));
  }
}

function wordOf(action: Ruling['action']): string {
  const isLast = action.kind !== 'end' && action.isLast === true;
  return isLast ? { close: 'last', lost: 'lostlast' }[action.kind] : action.kind;
}

/** What the script answers; of a requeued job also where it waits. */
type Outcome =
  Exclude<RulingReply, { readonly kind: 'requeued' }> | { readonly kind: 'requeued'; readonly queue: string };

function parseOutcome(row: unknown): Outcome {
  const [kind, value] = cells(row);
  switch (kind) {
    case 'ended':
    case 'already':
      return { kind, state: text(value) };
    case 'requeued':
      return { kind, queue: text(value) };
    case 'missing':
    case 'fenced':
    case 'held':
    case 'logged':
      return { kind };
    default:
      throw new Error(described(kind));
  }
}

import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { LedgerEntry, dayOf, KINDS, type Kind } from './ledger-entry.ts';

const DAY_MS = 86_400_000;
const MAX_DAYS = 92;

export const GROUPS = ['day', 'key', 'model'] as const;
export type Group = (typeof GROUPS)[number];

export interface UsageRow {
  /** Each group is present if usage was grouped by it. */
  readonly day?: string;
  readonly key?: string;
  readonly model?: string;
  readonly jobs: number;
  readonly done: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  /** Millionths of the currency. */
  readonly charged: number;
}

const NOTHING = { jobs: 0, done: 0, input_tokens: 0, output_tokens: 0, charged: 0 };

/**
 * What tenants used and owe, as the courier has recorded it. Only reads, so any number of calls may run at
 * once.
 */
@Injectable()
export class UsageStore {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * A tenant's usage from one UTC day to another, both included, summed by group. Throws CodedError
   * `request_invalid`.
   */
  async usage(tenant: string, query: { from: string; to: string; groupBy: readonly Group[] }): Promise<UsageRow[]> {
    const days = Math.floor((Date.parse(query.to) - Date.parse(query.from)) / DAY_MS) + 1;
    if (Number.isNaN(days) || days < 1 || days > MAX_DAYS)
      throw new CodedError(
        'request_invalid',
        `from and to are days, the first before the last, and at most ${MAX_DAYS} days are read at once.`,
      );
    const rows = new Map<string, UsageRow>();
    for (let index = 0; index < days; index += 1) {
      const day = dayOf(Date.parse(query.from) + index * DAY_MS);
      for (const [name, amount] of Object.entries(await this.#redis.hgetall(this.#keys.usage(tenant, day)))) {
        const [key = '', model = '', what = ''] = name.split(' ');
        const group = {
          ...(query.groupBy.includes('day') ? { day } : {}),
          ...(query.groupBy.includes('key') ? { key } : {}),
          ...(query.groupBy.includes('model') ? { model } : {}),
        };
        const id = JSON.stringify(group);
        const row = rows.get(id) ?? { ...group, ...NOTHING };
        if (!isCounted(what)) continue;
        rows.set(id, { ...row, [what]: row[what] + Number(amount) });
      }
    }
    return [...rows.values()];
  }

  /** What is spent and held now by a tenant and by each of its API keys, in millionths of the currency. */
  async account(
    tenant: string,
  ): Promise<{ spent: number; held: number; keys: Record<string, { spent: number; held: number }> }> {
    const found = await this.#redis.hgetall(this.#keys.account(tenant));
    const keys: Record<string, { spent: number; held: number }> = {};
    for (const [name, amount] of Object.entries(found)) {
      const [key, what] = name.split(':');
      if (key === undefined || (what !== 'spent' && what !== 'held')) continue;
      keys[key] = { ...(keys[key] ?? { spent: 0, held: 0 }), [what]: Number(amount) };
    }
    return { spent: Number(found['spent'] ?? 0), held: Number(found['held'] ?? 0), keys };
  }

  /** Entries of a tenant's ledger in a month, in no order. An entry written meanwhile may be missing. */
  async *ledger(tenant: string, month: string): AsyncGenerator<{ job: string; kind: Kind; entry: LedgerEntry }> {
    let cursor = '0';
    do {
      const [next, cells] = await this.#redis.hscan(this.#keys.ledger(tenant, month), cursor, 'COUNT', 500);
      cursor = next;
      for (let at = 0; at + 1 < cells.length; at += 2) {
        const [job = '', name] = (cells[at] ?? '').split(':');
        const kind = KINDS.find((one) => one === name);
        if (kind !== undefined) yield { job, kind, entry: LedgerEntry.parse(JSON.parse(cells[at + 1] ?? '')) };
      }
    } while (cursor !== '0');
  }

  /**
   * How long done jobs of a model took lately from claim to end, in ms: a moving average. Undefined before
   * the first.
   */
  async recentDurationMs(model: string): Promise<number | undefined> {
    const ms = await this.#redis.hget(this.#keys.recentDuration, model);
    return ms === null ? undefined : Number(ms);
  }
}

function isCounted(what: string): what is keyof typeof NOTHING {
  return what in NOTHING;
}

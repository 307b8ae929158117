import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { Caller } from '../tenants/api-key.ts';
import { BUDGETS } from '../tenants/limits.ts';
import { LedgerEntry, dayOf, monthOf } from './ledger-entry.ts';

const DAY_MS = 86_400_000;
const MAX_DAYS = 92;
const PAGE = 1_000;
const CURRENCY = /^[A-Z]{3,8}$/;

export const GROUPS = ['day', 'key', 'model'] as const;
export type Group = (typeof GROUPS)[number];

export interface UsageRow {
  /** Each group is present if usage was grouped by it. */
  readonly day?: string;
  readonly key?: string;
  readonly model?: string;
  /** Of what was charged; null where the jobs had no price. Amounts of two currencies are never added. */
  readonly currency: string | null;
  readonly jobs: number;
  readonly done: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  /** Millionths of the currency. */
  readonly charged: number;
}

/** What is spent, and what open jobs may still cost, in millionths of one currency. */
export interface Balance {
  readonly spent: number;
  readonly held: number;
}

/** The account of a tenant in one currency, in all and by API key. */
export interface Account extends Balance {
  readonly currency: string;
  readonly keys: Readonly<Record<string, Balance>>;
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
        const [key = '', model = '', currency = '-', what = ''] = name.split(' ');
        const group = {
          currency: currency === '-' ? null : currency,
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

  /** What is spent and held now by a tenant and by each of its API keys, by currency. */
  async accounts(tenant: string): Promise<Account[]> {
    const found = new Map<
      string,
      { spent: number; held: number; keys: Record<string, { spent: number; held: number }> }
    >();
    for (const [name, amount] of Object.entries(await this.#redis.hgetall(this.#keys.account(tenant)))) {
      const [what = '', unit = '', key] = name.split(':').toReversed();
      if (!CURRENCY.test(unit) || (what !== 'spent' && what !== 'held')) continue;
      const account = found.get(unit) ?? { spent: 0, held: 0, keys: {} };
      found.set(unit, account);
      const balance = key === undefined ? account : (account.keys[key] ??= { spent: 0, held: 0 });
      balance[what] = Number(amount);
    }
    return [...found].map(([currency, account]) => ({ currency, ...account }));
  }

  /**
   * The account in the currency of today's prices; without prices, the only one that there is. An account
   * that nothing was entered in is empty.
   */
  async account(tenant: string, currency?: string): Promise<Omit<Account, 'currency'>> {
    const all = await this.accounts(tenant);
    const found = all.find((one) => (currency === undefined ? all.length === 1 : one.currency === currency));
    return found === undefined
      ? { spent: 0, held: 0, keys: {} }
      : { spent: found.spent, held: found.held, keys: found.keys };
  }

  /**
   * Whether a job that may cost this much fits into the budgets of a tenant and its key as they stand; if
   * not, whether what is spent leaves no room, or what open jobs may cost.
   */
  async fits(
    { tenant, keyId, limits }: Pick<Caller, 'tenant' | 'keyId' | 'limits'>,
    { hold, currency }: { readonly hold: number; readonly currency: string },
  ): Promise<'fits' | 'spend_exceeded' | 'spend_held'> {
    const account = await this.account(tenant, currency);
    const nowMs = Date.now();
    for (const whose of ['tenant', 'key'] as const) {
      const key = limits.account ?? keyId;
      const balance = whose === 'tenant' ? account : (account.keys[key] ?? { spent: 0, held: 0 });
      for (const { name, unit, span } of BUDGETS) {
        const most = unit === 'money' ? limits[whose][name] : undefined;
        if (most === undefined) continue;
        const spent =
          span === 'total'
            ? balance.spent
            : await this.spentIn(
                tenant,
                span === 'day' ? dayOf(nowMs) : monthOf(nowMs),
                currency,
                whose === 'key' ? key : '',
              );
        if (spent + hold > most) return 'spend_exceeded';
        if (spent + balance.held + hold > most) return 'spend_held';
      }
    }
    return 'fits';
  }

  /** What was spent in a month or on a day, UTC, in millionths; of one key where it is named. */
  async spentIn(tenant: string, period: string, currency: string, key = ''): Promise<number> {
    const name = key === '' ? currency : `${key}:${currency}`;
    return Number((await this.#redis.hget(this.#keys.spent(tenant, period), name)) ?? 0);
  }

  /**
   * The entries of a tenant's ledger in a month, in pages and in no order: each once, because entries are
   * only added. One that is written meanwhile may be missing.
   */
  async *ledger(tenant: string, month: string): AsyncGenerator<{ job: string; entry: LedgerEntry }[]> {
    let cursor = '0';
    do {
      const [next, cells] = await this.#redis.hscan(this.#keys.ledger(tenant, month), cursor, 'COUNT', 500);
      cursor = next;
      const page = [];
      for (let at = 0; at + 1 < cells.length; at += 2)
        page.push({ job: cells[at] ?? '', entry: LedgerEntry.parse(JSON.parse(cells[at + 1] ?? '')) });
      yield page;
    } while (cursor !== '0');
  }

  /**
   * What is reserved for jobs of a tenant whose end is not entered, in millionths by currency: what its
   * accounts must hold.
   */
  async reserved(tenant: string): Promise<Map<string, number>> {
    const sums = new Map<string, number>();
    const add = async (ids: readonly string[]) => {
      const rows = await this.#notes(ids);
      for (const [owner, reserve] of rows) {
        const [, currency = '-', money = '0'] = (reserve ?? '').split(' ');
        if (owner === tenant && currency !== '-') sums.set(currency, (sums.get(currency) ?? 0) + Number(money));
      }
    };
    const { openOf, ended, jobEnds } = this.#keys;
    for (let from = 0; ; from += PAGE) {
      const ids = await this.#redis.zrange(openOf(tenant), String(from), String(from + PAGE - 1));
      await add(ids);
      if (ids.length < PAGE) break;
    }
    const cursor = (await this.#redis.hget(jobEnds, 'cursor')) ?? '0';
    for (let from = 0; ; from += PAGE) {
      const ids = await this.#redis.zrangebyscore(ended, `(${cursor}`, '+inf', 'LIMIT', from, PAGE);
      await add(ids);
      if (ids.length < PAGE) break;
    }
    return sums;
  }

  /** The tenant and the reserve of each of these jobs. */
  async #notes(ids: readonly string[]): Promise<[string | null, string | null][]> {
    const asked = this.#redis.pipeline();
    for (const id of ids) asked.hmget(this.#keys.job(id), 'tenant', 'reserve');
    return ((await asked.exec()) ?? []).map(([error, reply]) => {
      if (error) throw error;
      const [tenant = null, reserve = null] = Array.isArray(reply) ? (reply as (string | null)[]) : [];
      return [tenant, reserve];
    });
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

import type { Price } from '../../proof/receipts/statements.ts';
import type { Caller } from '../tenants/api-key.ts';
import { BUDGETS, type Limits } from '../tenants/limits.ts';

/** A chat template may add this many tokens to the bytes of an input; the attestor accepts no more. */
const TEMPLATE_TOKENS = 64;
/** Bytes of a token, as it is guessed before an allowance per minute is corrected by what was used. */
const GUESSED_BYTES = 4;
/** Background work leaves this share of what is limited by the moment to people. */
const KEPT_SHARE = 1 / 4;

type Of = 'tenant' | 'key';

/** A job of a request, as far as limits look at it. */
export interface WantedJob {
  readonly price: Price | undefined;
  readonly inputBytes: number;
  readonly outputTokens: number;
}

/** A limit on what is there at once, or on what is spent in a period. */
interface Cap {
  readonly of: Of;
  readonly unit: string;
  readonly span: 'now' | 'total' | 'month' | 'day';
  readonly most: number;
  readonly amount: number;
  /** What is left to others. */
  readonly kept: number;
}

/** An allowance per minute. */
interface Rate {
  readonly of: Of;
  readonly unit: 'tokens' | 'requests';
  readonly quota: number;
  readonly amount: number;
  readonly kept: number;
}

/** What a request asks of limits, as `admit.lua` takes it. */
export interface LimitsAsked {
  /** Whose budget it is beside the tenant's. */
  readonly key: string;
  readonly caps: readonly Cap[];
  readonly rates: readonly Rate[];
  readonly holds: readonly (readonly [unit: string, amount: number])[];
  readonly spends: readonly (readonly [unit: string, amount: number])[];
  /** It repeats a request that was accepted, and makes nothing new. */
  readonly isKnown?: true;
}

export const NOTHING_ASKED: LimitsAsked = { key: '-', caps: [], rates: [], holds: [], spends: [] };

/**
 * What a request with these jobs asks of the limits of its tenant and key, for all of them together, and what
 * is to be reserved for each of its jobs (`reserve.lua`). Nothing where nothing is limited and nothing has a
 * price. Of background work, requests are taken from the allowance here: nobody else counts its lines.
 */
export function limitsAsked(
  { keyId, limits }: Pick<Caller, 'keyId' | 'limits'>,
  jobs: readonly WantedJob[],
  isBackground: boolean,
): { readonly ask: LimitsAsked | undefined; readonly reserves: readonly string[] } {
  const has = (...names: readonly (keyof Limits)[]) =>
    names.some((name) => limits.tenant[name] !== undefined || limits.key[name] !== undefined);
  const counts = {
    tokens: has('tokens', 'tokens_per_month', 'tokens_per_day'),
    requests: has('requests', 'requests_per_month', 'requests_per_day'),
    jobs: limits.key.concurrent_jobs !== undefined,
    allowance: has('tokens_per_minute'),
  };
  const currency = jobs.find(({ price }) => (price?.hold ?? 0) > 0)?.price?.currency;
  const isLimited = counts.tokens || counts.requests || counts.allowance || has('concurrent_jobs');
  if (currency === undefined && !isLimited && !(isBackground && has('requests_per_minute')))
    return { ask: undefined, reserves: jobs.map(() => '') };
  const key = limits.account ?? (keyId === '' ? '-' : keyId);
  const each = jobs.map((job) => ({
    money: job.price?.hold ?? 0,
    tokens: counts.tokens ? mostTokens(job) : 0,
    taken: guessedTokens(job),
  }));
  const total = (what: 'money' | 'tokens' | 'taken') => each.reduce((sum, job) => sum + job[what], 0);
  const amounts = { money: total('money'), tokens: total('tokens'), requests: 1 };
  return {
    ask: {
      key,
      caps: capsOf(limits, { currency, amounts, jobs: jobs.length, isBackground }),
      rates: ratesOf(limits, total('taken'), isBackground),
      holds: [
        ...(currency === undefined ? [] : [[currency, amounts.money] as const]),
        ...(counts.tokens ? [['tokens', amounts.tokens] as const] : []),
        ...(counts.jobs ? [['jobs', jobs.length] as const] : []),
      ],
      spends: counts.requests ? [['requests', 1]] : [],
    },
    reserves: each.map(({ money, tokens, taken }) =>
      [
        key,
        currency ?? '-',
        money,
        tokens,
        counts.jobs ? 1 : 0,
        counts.allowance ? taken : '-',
        counts.allowance ? (limits.tenant.tokens_per_minute ?? 0) : 0,
        counts.allowance ? (limits.key.tokens_per_minute ?? 0) : 0,
      ].join(' '),
    ),
  };
}

interface Amounts {
  readonly currency: string | undefined;
  readonly amounts: { readonly money: number; readonly tokens: number; readonly requests: number };
  readonly jobs: number;
  readonly isBackground: boolean;
}

function capsOf(limits: Caller['limits'], { currency, amounts, jobs, isBackground }: Amounts): Cap[] {
  return (['tenant', 'key'] as const).flatMap((of): Cap[] => {
    const own = limits[of];
    const open = own.concurrent_jobs;
    const budgets = BUDGETS.flatMap(({ name, unit, span }): Cap[] => {
      // Whatever is allowed, no account comes to a sum that cannot be counted exactly.
      const most = own[name] ?? (name === 'spend' && of === 'tenant' ? Number.MAX_SAFE_INTEGER : undefined);
      if (most === undefined || (unit === 'money' && currency === undefined)) return [];
      return [{ of, unit: unit === 'money' ? (currency ?? '') : unit, span, most, amount: amounts[unit], kept: 0 }];
    });
    if (open === undefined) return budgets;
    return [
      ...budgets,
      { of, unit: 'jobs', span: 'now', most: open, amount: jobs, kept: kept(open, jobs, isBackground) },
    ];
  });
}

function ratesOf(limits: Caller['limits'], tokens: number, isBackground: boolean): Rate[] {
  return (['tenant', 'key'] as const).flatMap((of) => {
    const { tokens_per_minute, requests_per_minute } = limits[of];
    const rate = (unit: Rate['unit'], quota: number | undefined, amount: number): Rate[] =>
      quota === undefined ? [] : [{ of, unit, quota, amount, kept: kept(quota, amount, isBackground) }];
    return [
      ...rate('tokens', tokens_per_minute, tokens),
      ...(isBackground ? rate('requests', requests_per_minute, 1) : []),
    ];
  });
}

/** What background work leaves to people; what fits into the whole limit is never refused for it. */
function kept(most: number, amount: number, isBackground: boolean): number {
  return isBackground ? Math.max(0, Math.min(Math.floor(most * KEPT_SHARE), most - amount)) : 0;
}

/** As many tokens as the attestor can confirm of this job. */
function mostTokens({ inputBytes, outputTokens }: WantedJob): number {
  return inputBytes + TEMPLATE_TOKENS + outputTokens;
}

function guessedTokens({ inputBytes, outputTokens }: WantedJob): number {
  return Math.ceil(inputBytes / GUESSED_BYTES) + outputTokens;
}

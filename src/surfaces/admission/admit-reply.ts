import { CodedError } from '../../ground/errors/coded-error.ts';
import { cells, described, oneOf, text } from '../../ground/redis/reply.ts';
import type { Standing } from '../../core/forecast/admission-limits.ts';
import type { Place } from '../../core/forecast/offer.ts';

const SPANS = { now: 'at once', total: 'in all', month: 'this month', day: 'today', minute: 'per minute' } as const;
type Span = keyof typeof SPANS;

/** Whoever drains a pool means minutes and not moments. */
const DRAINING_S = '30';

/** The limit that a request does not keep within. */
interface Limit {
  readonly of: 'tenant' | 'key';
  readonly unit: string;
  readonly span: Span;
}

/** Why a request is not accepted; see `admit.lua`. */
export type AdmitRefusal =
  | { readonly kind: 'other' | 'gone' }
  | { readonly kind: 'draining'; readonly pool: string }
  | (Limit & { readonly kind: 'never'; readonly most: number; readonly amount: number })
  | (Limit & { readonly kind: 'spent'; readonly rest: number; readonly forMs: number })
  | (Limit & { readonly kind: 'held'; readonly rest: number; readonly held: number })
  | (Limit & {
      readonly kind: 'slow';
      readonly quota: number;
      readonly left: number;
      readonly wholeMs: number;
      readonly waitMs: number;
    });

/** A job of a request: how it ended, where it is known, and its place, where it is new. */
interface AdmittedJob {
  readonly id: string;
  readonly ended: string;
  readonly place: Place | undefined;
}

/** The job with this number, from 1, would begin too late. */
export interface LateReply {
  readonly kind: 'late';
  readonly number: number;
  readonly standing: Standing;
}

/** What `admit.lua` answers for one request: its jobs, new or known, or why none of them is accepted. */
export type AdmitReply =
  { readonly kind: 'ok' | 'same'; readonly jobs: readonly AdmittedJob[] } | LateReply | AdmitRefusal;

/** Throws where the script answered with something that its header does not promise. */
export function parseReply(reply: unknown): AdmitReply {
  const [kind, ...rest] = cells(reply).map(text);
  if (kind === 'ok')
    return {
      kind,
      jobs: grouped(rest, 3).map(([id = '', ends = '', distance = '']) => ({
        id,
        ended: '',
        place: ends === '' ? undefined : { ends: Number(ends), distance: Number(distance) },
      })),
    };
  if (kind === 'same')
    return { kind, jobs: grouped(rest, 2).map(([id = '', ended = '']) => ({ id, ended, place: undefined })) };
  if (kind === 'late') {
    const [number = 0, ends = 0, distance = 0, ahead = 0, ties = 0, backloggedMs = 0] = rest.map(Number);
    return { kind, number, standing: { ends, distance, ahead, ties, backloggedMs } };
  }
  if (kind === 'other' || kind === 'gone') return { kind };
  if (kind === 'draining') return { kind, pool: rest[0] ?? '' };
  const [of, unit = '', third = '', ...values] = rest;
  const whose = oneOf('tenant', 'key')(of);
  if (kind === 'slow') {
    const [quota = 0, left = 0, wholeMs = 0, waitMs = 0] = [third, ...values].map(Number);
    return { kind, of: whose, unit, span: 'minute', quota, left, wholeMs, waitMs };
  }
  const limit = { of: whose, unit, span: oneOf('now', 'total', 'month', 'day', 'minute')(third) };
  const [first = 0, second = 0] = values.map(Number);
  if (kind === 'never') return { kind, ...limit, most: first, amount: second };
  if (kind === 'spent') return { kind, ...limit, rest: first, forMs: second };
  if (kind === 'held') return { kind, ...limit, rest: first, held: second };
  throw new Error(described(kind));
}

/** The values in groups of so many. */
function grouped(values: readonly string[], size: number): string[][] {
  return values.flatMap((_, at) => (at % size === 0 ? [values.slice(at, at + size)] : []));
}

/**
 * The CodedError of a refusal: `idempotency_key_reused`, `payment_used`; `request_exceeds_limit` and
 * `spend_exceeded`, which another try cannot change; `rate_limited`, `spend_held` and `pool_draining`, which
 * pass.
 */
export function refusalOf(refusal: AdmitRefusal, currency: string): CodedError {
  switch (refusal.kind) {
    case 'other':
      return new CodedError(
        'idempotency_key_reused',
        'This Idempotency-Key was used with another body; use a new key for a new job.',
      );
    case 'gone':
      return new CodedError('payment_used', 'This payment was already used for an answer; sign another one.');
    case 'draining':
      return new CodedError('pool_draining', `The pool ${refusal.pool} is being drained and takes no new jobs now.`, {
        headers: { 'retry-after': DRAINING_S },
        hint: 'use a model of another pool, or try again later',
      });
    case 'never':
      return neverError(refusal, currency);
    case 'spent':
      return spentError(refusal, currency);
    case 'held':
      return heldError(refusal, currency);
    case 'slow':
      return slowError(refusal);
  }
}

/** The unit in words: of money, millionths of its currency. */
function named(unit: string, currency: string): string {
  return unit === currency ? `millionths of a ${currency}` : unit;
}

const FINAL = { 'x-should-retry': 'false' };

function neverError(refusal: AdmitRefusal & { kind: 'never' }, currency: string): CodedError {
  const { of, unit, span, most, amount } = refusal;
  return new CodedError(
    unit === currency ? 'spend_exceeded' : 'request_exceeds_limit',
    `This request may take ${amount} ${named(unit, currency)}, and ${most} are allowed ${SPANS[span]} by the limit of the ${of}.`,
    { headers: FINAL, hint: 'ask for less at a time' },
  );
}

function spentError(refusal: AdmitRefusal & { kind: 'spent' }, currency: string): CodedError {
  const { of, unit, span, rest, forMs } = refusal;
  return new CodedError(
    'spend_exceeded',
    `${rest} ${named(unit, currency)} are left ${SPANS[span]} by the limit of the ${of}, and this request may take more.`,
    { headers: { ...FINAL, ...(forMs > 0 ? { 'retry-after': String(Math.ceil(forMs / 1_000)) } : {}) } },
  );
}

function heldError(refusal: AdmitRefusal & { kind: 'held' }, currency: string): CodedError {
  const { of, unit, span, rest, held } = refusal;
  if (unit === 'jobs')
    return new CodedError('rate_limited', `${held} jobs of this ${of} are open, and no more are allowed at once.`, {
      headers: { 'retry-after': '2' },
    });
  return new CodedError(
    'spend_held',
    `What open jobs may cost leaves ${rest} ${named(unit, currency)} ${SPANS[span]} by the limit of the ${of}.`,
    { headers: { 'retry-after': '1', 'x-should-retry': 'true' }, hint: 'try again when one of them is over' },
  );
}

function slowError({ of, unit, quota, left, wholeMs, waitMs }: AdmitRefusal & { kind: 'slow' }): CodedError {
  const name = `${of}-${unit}`;
  return new CodedError('rate_limited', `The limit ${name} is reached; try again in a moment.`, {
    headers: {
      'ratelimit-policy': `"${name}";q=${quota};w=60`,
      ratelimit: `"${name}";r=${left};t=${Math.ceil(wholeMs / 1_000)}`,
      'retry-after': String(Math.max(1, Math.ceil(waitMs / 1_000))),
      'retry-after-ms': String(waitMs),
    },
  });
}

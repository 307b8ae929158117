import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, listOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Caller } from './api-key.ts';

const TAKE = loadScript(new URL('./lua/take.lua', import.meta.url), listOf(parseTaken), {
  included: [new URL('./lua/allowance.lua', import.meta.url)],
});
const WINDOW_MS = 60_000;
/** More than anybody types; a secret of 256 bits is not guessed by any number. */
const LOGINS_PER_MINUTE = 30;

/**
 * Requests per minute, counted in Redis and so shared by all instances. Tokens are counted where jobs are
 * admitted, and so are the lines of batches. Any number of calls may run at once.
 */
@Injectable()
export class RateLimits {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Takes a request from the tenant's and the key's allowance, or from neither. Returns the headers that
   * describe both (draft-ietf-httpapi-ratelimit-headers), none if there is no limit. Throws CodedError
   * `rate_limited` with `Retry-After`.
   */
  async take(caller: Pick<Caller, 'tenant' | 'keyId' | 'limits'>): Promise<Record<string, string>> {
    const allowances = (['tenant', 'key'] as const).flatMap((whose) => {
      const quota = caller.limits[whose].requests_per_minute;
      const id = whose === 'tenant' ? caller.tenant : (caller.limits.account ?? caller.keyId);
      return quota === undefined
        ? []
        : [{ name: `${whose}-requests`, quota, key: this.#keys.limit(whose, id, 'requests') }];
    });
    if (allowances.length === 0) return {};
    const taken = await TAKE.run(
      this.#redis,
      allowances.map(({ key }) => key),
      allowances.flatMap(({ quota }) => [quota, WINDOW_MS, 1]),
    );
    const rows = allowances.map((allowance, index) => {
      const { isGranted = false, left = 0, wholeMs = 0, waitMs = 0 } = taken[index] ?? {};
      return { ...allowance, isGranted, left: Math.max(0, left), wholeMs, waitMs };
    });
    const headers = {
      'ratelimit-policy': rows.map(({ name, quota }) => `"${name}";q=${quota};w=${WINDOW_MS / 1_000}`).join(', '),
      ratelimit: rows
        .map(({ name, left, wholeMs }) => `"${name}";r=${left};t=${Math.ceil(wholeMs / 1_000)}`)
        .join(', '),
    };
    if (rows.every(({ isGranted }) => isGranted)) return headers;
    const waitMs = Math.max(...rows.map((row) => row.waitMs));
    const violated = rows.filter((row) => row.waitMs > 0).map(({ name }) => name);
    throw new CodedError('rate_limited', `The limit ${violated.join(' and ')} is reached; try again in a moment.`, {
      headers: { ...headers, ...retryAfter(waitMs) },
    });
  }

  /** Counts an attempt to sign in from an address. Throws CodedError `rate_limited` with `Retry-After`. */
  async takeLogin(address: string): Promise<void> {
    const [taken] = await TAKE.run(
      this.#redis,
      [this.#keys.limit('login', networkOf(address), 'requests')],
      [LOGINS_PER_MINUTE, WINDOW_MS, 1],
    );
    if (taken?.isGranted === true) return;
    throw new CodedError('rate_limited', 'Too many attempts to sign in came from this address; wait a moment.', {
      headers: retryAfter(taken?.waitMs ?? WINDOW_MS),
    });
  }
}

const retryAfter = (waitMs: number) => ({
  'retry-after': String(Math.max(1, Math.ceil(waitMs / 1_000))),
  'retry-after-ms': String(waitMs),
});

/** Whom an address belongs to: of IPv6 the first half, since one customer has the rest. */
export function networkOf(address: string): string {
  return address.includes('.') ? address.replace(/^::ffff:/, '') : address.split(':').slice(0, 4).join('.');
}

/** What take.lua answers for one allowance. */
function parseTaken(row: unknown): { isGranted: boolean; left: number; wholeMs: number; waitMs: number } {
  const [granted, left, wholeMs, waitMs] = cells(row).map(integer);
  return { isGranted: granted === 1, left: left ?? 0, wholeMs: wholeMs ?? 0, waitMs: waitMs ?? 0 };
}

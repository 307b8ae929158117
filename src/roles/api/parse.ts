import type { z } from 'zod';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { checked } from '../../surfaces/http/checked.ts';
import { IdempotencyKey, PreferWait } from './request-headers.ts';

/**
 * A value from outside, checked by its schema. Throws CodedError `request_invalid` that names the first few
 * mistakes.
 */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  return checked(schema, value);
}

/** The Idempotency-Key without its quotes. Throws CodedError `request_invalid`. */
export function parseIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const parsed = IdempotencyKey.safeParse(header);
  if (!parsed.success)
    throw new CodedError('request_invalid', 'The Idempotency-Key must be 1 to 255 printable characters, given once.');
  return parsed.data;
}

/** Seconds in `Prefer: wait=N` (RFC 7240), at most 60; undefined where it is not asked for. */
export function parsePreferWait(header: string | string[] | undefined): number | undefined {
  return header === undefined ? undefined : PreferWait.parse(Array.isArray(header) ? header.join(',') : header);
}

/**
 * How a request under an Idempotency-Key is known again: by the key, and by all that was asked at this
 * address. Without a key, nothing.
 */
export function askedOnce(
  key: string | undefined,
  address: string,
  body: unknown,
): { readonly idempotencyKey?: string; readonly request?: string } {
  return key === undefined ? {} : { idempotencyKey: key, request: canonicalJson({ address, body }) };
}

import { z } from 'zod';

const KEY = /^(?:"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;

/** Quoted as the draft of the header says, or bare as most clients send it. */
export const IdempotencyKey = z
  .string()
  .regex(KEY)
  .transform((text) => (text.startsWith('"') ? text.slice(1, -1) : text))
  .describe('the same key with the same body answers with what was made the first time, for a day');

/** The headers of an address where the same is made once, however often it is asked for under one key. */
export const MadeOnce = z.strictObject({ 'Idempotency-Key': IdempotencyKey.optional() });

export const OwnerInHeader = z
  .string()
  .max(1_800)
  .describe(
    'puts memories of this owner before the question; the name is percent-encoded. `memory` in the body can say more',
  );

export const MAX_WAIT_S = 60;

/** Seconds in `Prefer: wait=N` (RFC 7240); undefined where no wait is asked for. */
export const PreferWait = z
  .string()
  .transform((text) => {
    const [, bare, seconds] = /(?:^|[,;])\s*wait(\s*=\s*"?(\d{1,6})"?)?\s*(?=$|[,;])/i.exec(text) ?? [];
    if (bare === undefined || seconds === undefined)
      return /(?:^|[,;])\s*wait\s*(?=$|[,;])/i.test(text) ? MAX_WAIT_S : undefined;
    return Math.min(Number(seconds), MAX_WAIT_S);
  })
  .describe(`\`wait=N\`: answer when the job is final, at the latest after N (up to ${MAX_WAIT_S}) seconds`);

export const AnswerWish = z
  .enum(['confirmed', 'provisional'])
  .default('confirmed')
  .describe('`provisional`: answer as soon as a worker has, with the state `attesting`');

export const HangUpWish = z
  .enum(['cancel', 'keep'])
  .default('cancel')
  .describe('what becomes of the job when the caller hangs up');

/** For callers without an API key, where the operator sells by the request (x402). */
export const PaymentSignature = z
  .string()
  .describe('instead of an API key: a payment by x402 for this one answer, on the terms of `PAYMENT-REQUIRED`');

/** The place of an event in a tenant's stream. */
export const FeedEventId = z
  .string()
  .regex(/^\d{1,15}-\d{1,10}$/)
  .describe('the id of the last event that the caller has seen; the stream goes on after it');

/** The place of an event of one job; `core/jobs/job-events.ts` reads it. */
export const JobEventId = z
  .string()
  .describe('the id of the last event that the caller has seen; the stream goes on after it');

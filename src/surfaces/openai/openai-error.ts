import { z } from 'zod';
import type { CodedError } from '../../ground/errors/coded-error.ts';

/** The longest Retry-After that OpenAI's clients obey; with a longer one they come back too early. */
const MAX_RETRY_S = 60;

/** An error as OpenAI's clients read it: `code` is ours, the same as everywhere. */
export const OpenAiError = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.enum([
      'insufficient_quota',
      'authentication_error',
      'permission_error',
      'rate_limit_error',
      'server_error',
      'invalid_request_error',
    ]),
    param: z.string().nullable().describe('the member of the request that is at fault'),
    code: z.string(),
  }),
});
export type OpenAiError = z.infer<typeof OpenAiError>;

export function openAiError(error: CodedError): OpenAiError {
  return {
    error: {
      message: error.hint === undefined ? error.message : `${error.message} (${error.hint})`,
      type: typeOf(error),
      param: error.param ?? null,
      code: error.code,
    },
  };
}

function typeOf({ status, code }: CodedError): OpenAiError['error']['type'] {
  if (code === 'spend_exceeded') return 'insufficient_quota';
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/** Answers that another try cannot change, although their status says otherwise to a client. */
const FINAL: ReadonlySet<string> = new Set([
  'answer_refuted',
  'unverified_answer',
  'job_failed',
  'job_expired',
  'job_cancelled',
  'job_not_done',
  'batch_over',
  'spend_exceeded',
  'payment_used',
]);

/** `x-should-retry` overrides what OpenAI's clients would do by the status alone. */
export function retryHeaders(error: CodedError): Record<string, string> {
  const said = error.headers['x-should-retry'];
  if (said !== undefined) return { 'x-should-retry': said };
  const after = Number(error.headers['retry-after'] ?? NaN);
  if (FINAL.has(error.code) || after > MAX_RETRY_S) return { 'x-should-retry': 'false' };
  if (error.status === 429 || error.status === 503)
    return { 'x-should-retry': 'true', ...(Number.isNaN(after) ? { 'retry-after': '1' } : {}) };
  return {};
}

import type { Ticket } from '../receipts/statements.ts';

/** Generated tokens in one unit of cost. */
const TOKENS_IN_A_UNIT = 64;
/**
 * Bytes of a prompt that cost as much as one generated token. A token has about four bytes, and reading one
 * costs about a tenth of generating one, because a prompt is read in one pass.
 */
const PROMPT_BYTES_PER_TOKEN = 40;

/**
 * The most that a job can cost, in whole units of 64 generated tokens, at least 1. It is known before the job
 * runs; tenants share a queue by it.
 */
export function costOf({ task, params, inputBytes }: Ticket['predicate']): number {
  const generated = task === 'embedding' ? 0 : params.max_tokens;
  return Math.max(1, Math.ceil((generated + inputBytes / PROMPT_BYTES_PER_TOKEN) / TOKENS_IN_A_UNIT));
}

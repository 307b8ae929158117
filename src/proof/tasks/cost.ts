import type { Ticket } from '../receipts/statements.ts';

/** Generated tokens in one unit of cost. */
const TOKENS_IN_A_UNIT = 64;
/** A token of the prompt costs a tenth of a generated one: a prompt is read in one pass. Four bytes make a token, nearly. */
const BYTES_IN_A_TOKEN = 40;

/**
 * What a job may cost, in whole units of 64 generated tokens, at least 1. It is the most that was asked for, known
 * before anything runs; tenants share a queue by it.
 */
export function costOf({ task, params, inputBytes }: Ticket['predicate']): number {
  const generated = task === 'embedding' ? 0 : params.max_tokens;
  return Math.max(1, Math.ceil((generated + inputBytes / BYTES_IN_A_TOKEN) / TOKENS_IN_A_UNIT));
}

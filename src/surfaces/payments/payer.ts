import type { SecretsKeys } from '../../ground/keys/secrets-keys.ts';

/** Begins the tenant of every payer without an account. */
const PREFIX = 'x402-';
/** The tenant of a caller without a key who has not paid yet. */
export const VISITOR = 'x402';
/** Takes the place of the id of an API key. */
export const PAYER_KEY = 'x402';

/** What the mark of a token is for. */
const MARK = 'payer-token';
const TOKEN_LIFE_S = 86_400;
const TOKEN = /^csp_([0-9a-f]{40})_([0-9a-z]{30})_([0-9]{10,12})_([A-Za-z0-9_-]{43})$/;

/** The tenant of a payer's address (lower case, with `0x`): each payer sees only what it paid for. */
export function payerTenant(address: string): string {
  return `${PREFIX}${address.replace(/^0x/, '')}`;
}

/** Whether a tenant is a payer without an account. */
export function isPayer(tenant: string): boolean {
  return tenant.startsWith(PREFIX);
}

/**
 * A token that lets its holder read one paid job for a day. It is stored nowhere: it carries a mark
 * of the service's key for secrets.
 */
export function payerToken(keys: SecretsKeys, tenant: string, job: string, nowMs = Date.now()): string {
  const until = Math.floor(nowMs / 1_000) + TOKEN_LIFE_S;
  const claim = `${tenant.slice(PREFIX.length)}_${job.slice('job_'.length)}_${until}`;
  return `csp_${claim}_${keys.mark(MARK, claim).toString('base64url')}`;
}

/** The tenant and the job of a token; undefined if it is forged or has expired. */
export function readPayerToken(
  keys: SecretsKeys,
  text: string,
  nowMs = Date.now(),
): { tenant: string; job: string } | undefined {
  const [, address, job, until, presented] = TOKEN.exec(text) ?? [];
  if (address === undefined || job === undefined || until === undefined || presented === undefined) return undefined;
  const isOurs = keys.recognizes(MARK, `${address}_${job}_${until}`, Buffer.from(presented, 'base64url'));
  return isOurs && Number(until) * 1_000 > nowMs ? { tenant: payerTenant(address), job: `job_${job}` } : undefined;
}

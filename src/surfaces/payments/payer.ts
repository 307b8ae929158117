import { createHmac, timingSafeEqual } from 'node:crypto';
import type { SigningKey } from '../../ground/keys/signing-key.ts';

/** Tenants of payers without an account, and of those who have not paid yet. */
const PREFIX = 'x402-';
export const VISITOR = 'x402';
/** Stands where the id of an API key would. */
export const PAYER_KEY = 'x402';

const TOKEN_LIFE_S = 86_400;
const TOKEN = /^csp_([0-9a-f]{40})_([0-9a-z]{26})_([0-9]{10,12})_([A-Za-z0-9_-]{43})$/;

/** The tenant of an address; what somebody paid for is nobody else's. */
export function payerTenant(address: string): string {
  return `${PREFIX}${address.replace(/^0x/, '')}`;
}

export function isPayer(tenant: string): boolean {
  return tenant.startsWith(PREFIX);
}

/** Lets its holder read one job that was paid for, for a day. It stands nowhere: the API's key makes it and knows it again. */
export function payerToken(apiKey: SigningKey, tenant: string, job: string, nowMs = Date.now()): string {
  const until = Math.floor(nowMs / 1_000) + TOKEN_LIFE_S;
  const claim = `${tenant.slice(PREFIX.length)}_${job.slice('job_'.length)}_${until}`;
  return `csp_${claim}_${mac(apiKey, claim).toString('base64url')}`;
}

/** Whose token this is and for which job, or undefined. */
export function readPayerToken(
  apiKey: SigningKey,
  text: string,
  nowMs = Date.now(),
): { tenant: string; job: string } | undefined {
  const [, address, job, until, presented] = TOKEN.exec(text) ?? [];
  if (address === undefined || job === undefined || until === undefined || presented === undefined) return undefined;
  const isOurs = timingSafeEqual(mac(apiKey, `${address}_${job}_${until}`), Buffer.from(presented, 'base64url'));
  return isOurs && Number(until) * 1_000 > nowMs ? { tenant: payerTenant(address), job: `job_${job}` } : undefined;
}

function mac(apiKey: SigningKey, claim: string): Buffer {
  return createHmac('sha256', apiKey.derive('countersign/payer-token')).update(claim).digest();
}

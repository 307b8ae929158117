import type { CodedError } from '../../ground/errors/coded-error.ts';

/** Refusals that are about this moment, unless they say that another try is in vain. */
const PASSING: ReadonlySet<string> = new Set([
  'storage_unavailable',
  'storage_full',
  'not_durable',
  'overloaded',
  'pool_draining',
  'rate_limited',
  'spend_held',
]);

/** Refusals for want of a place: whatever they tell a client that waits for the answer, they pass. */
const FULL: ReadonlySet<string> = new Set(['attestation_backlog', 'deadline_unreachable', 'share_exceeded']);

/** Whether a refusal is about this moment and not about the request, so that whoever has time tries again. */
export function isPassing({ code, headers }: CodedError): boolean {
  return FULL.has(code) || (PASSING.has(code) && headers['x-should-retry'] !== 'false');
}

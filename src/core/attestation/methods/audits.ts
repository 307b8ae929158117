import type { Attempt } from './attempt.ts';

/**
 * An audit is a recomputation that no ticket promised: the attestor draws a share of its own, of all models
 * whose answers it can compute again. Its verdict says the same as that of a promised one, and no worker can
 * tell them apart beforehand.
 */
export function isAudited({ engine, parts }: Attempt): boolean {
  return engine !== undefined && engine.repeatable !== 'no' && parts.isDrawn('audit', parts.equipment.auditShare);
}

import { tenantOf, type Whose as WhoseWork } from '../../core/jobs/whose.ts';
import type { Caller } from '../tenants/api-key.ts';
import type { Whose } from './memory-calls.ts';

/** Who asks the memory, and for what of which owner. */
export function whoseOf({ keyId }: Pick<Caller, 'keyId'>, reach: WhoseWork, owner: string | undefined): Whose {
  const sources = typeof reach === 'string' ? null : [...reach.keys];
  return { tenant: tenantOf(reach), owner: owner ?? null, by: keyId, sources };
}

import type { Whose } from '../../core/jobs/whose.ts';
import type { Caller, Scope } from './api-key.ts';

type Reacher = Pick<Caller, 'tenant' | 'scopes' | 'ownKeys'>;

/** What a caller may read: what its key made, or with the scope `read_all` all of its tenant. */
export function readableBy(caller: Reacher): Whose {
  return reach(caller, 'read_all');
}

/** What a caller may cancel and delete: what its key made, or as administrator all of its tenant. */
export function changeableBy(caller: Reacher): Whose {
  return reach(caller, 'tenant_admin');
}

function reach({ tenant, scopes, ownKeys }: Reacher, all: Scope): Whose {
  return scopes.has(all) ? tenant : { tenant, keys: ownKeys };
}

import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Caller, Scope } from './api-key.ts';
import { Limits } from './limits.ts';

/** What a key may do, as far as one key can have more of it than another. */
export interface KeyPowers {
  readonly scopes: readonly Scope[];
  readonly limits: Limits;
  /** ISO 8601; undefined where it does not end. */
  readonly expiresAt: string | undefined;
}

type Granter = Pick<Caller, 'scopes' | 'limits' | 'expiresAt'>;

const UNITS = Limits.keyof().options;

/**
 * What an administrator of a tenant gives a key when these powers are wanted. What was left out is as the
 * administrator's own key has it. Throws CodedError `power_exceeded` where more is wanted than that key has,
 * or a limit above the tenant's.
 */
export function grantable(granter: Granter, wanted: KeyPowers): KeyPowers {
  const limits = { ...wanted.limits };
  for (const unit of UNITS) {
    const own = granter.limits.key[unit];
    if (limits[unit] === undefined && own !== undefined) limits[unit] = own;
  }
  const powers = { scopes: wanted.scopes, limits, expiresAt: wanted.expiresAt ?? granter.expiresAt };
  requireWithin(granter, powers);
  return powers;
}

/**
 * Throws CodedError `power_exceeded` where a key with these powers could do what the granter's key cannot: by
 * a scope, a limit that is looser or absent, or a later end.
 */
export function requireWithin({ scopes, limits, expiresAt }: Granter, wanted: KeyPowers): void {
  const lacking = wanted.scopes.filter((scope) => !scopes.has(scope));
  if (lacking.length > 0) throw exceeded(`Your key lacks the scope ${lacking.join(', ')} itself, and cannot give it.`);
  for (const unit of UNITS) {
    const [own, asked] = [limits.key[unit], wanted.limits[unit]];
    if (own !== undefined && (asked === undefined || asked > own))
      throw exceeded(`Your key has the limit ${unit} ${own}; what it makes cannot have more.`);
    const tenant = limits.tenant[unit];
    if (tenant !== undefined && asked !== undefined && asked > tenant)
      throw exceeded(`Your tenant has the limit ${unit} ${tenant}; a key cannot have more.`);
  }
  if (
    expiresAt !== undefined &&
    (wanted.expiresAt === undefined || Date.parse(wanted.expiresAt) > Date.parse(expiresAt))
  )
    throw exceeded(`Your key ends at ${expiresAt}; what it makes cannot outlive it.`);
}

const exceeded = (detail: string) => new CodedError('power_exceeded', detail);

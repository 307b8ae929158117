/** What certain API keys of a tenant made, and nothing else of it. */
export interface OwnOnly {
  readonly tenant: string;
  readonly keys: ReadonlySet<string>;
}

/** Whose things are meant: all of a tenant, by its name, or only what certain keys of it made. */
export type Whose = string | OwnOnly;

/** The tenant whose things are meant. */
export function tenantOf(whose: Whose): string {
  return typeof whose === 'string' ? whose : whose.tenant;
}

/** Whether a thing is among what is meant. A thing that nobody is known to have made is only the tenant's. */
export function isAmong(whose: Whose, thing: { readonly tenant: string; readonly keyId: string }): boolean {
  return thing.tenant === tenantOf(whose) && (typeof whose === 'string' || whose.keys.has(thing.keyId));
}

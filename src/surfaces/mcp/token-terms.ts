import { readFileSync } from 'node:fs';
import type { JWTPayload } from 'jose';
import { z } from 'zod';
import { trustedBase } from '../../ground/config/fields.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Caller as ApiCaller, Scope } from '../tenants/api-key.ts';
import { OwnerName } from '../memory/memory-calls.ts';

/** The path of the protocol, and so the end of the resource that tokens are issued for. */
const PATH = '/mcp';
const METADATA_PATH = '/.well-known/oauth-protected-resource';

const trusted = (text: string) => trustedBase.safeParse(text).success;

const Caller = z.strictObject({
  /** Claims that a token must have with just these values; of a list, one item. */
  claims: z
    .record(z.string().min(1), z.string().min(1))
    .refine((claims) => Object.keys(claims).length > 0, 'must name a claim'),
  /** The id of the API key that such a token acts with. */
  key: z.string().regex(/^[0-9a-f]{16}$/, 'must be the id of an API key'),
  /** The claim that names the only owner whose memories are reached; without it, what the key reaches. */
  owner: z.string().min(1).optional(),
});

const TokenTerms = z.strictObject({
  version: z.literal(1),
  /** The issuer of access tokens, letter by letter as it stands in their claim `iss`. */
  issuer: z
    .url()
    .refine(trusted, 'must be https')
    .refine((text) => !/[?#]/.test(text), 'must have no query and no fragment'),
  /** Where the issuer's key set (JWKS) is. */
  keys: z.url().refine(trusted, 'must be https'),
  /** The address of `POST /mcp`, as callers know it. */
  resource: z
    .url()
    .refine(trusted, 'must be https')
    .refine((text) => URL.parse(text)?.href === text && new URL(text).pathname === PATH, `must end in ${PATH}`)
    .refine((text) => !/[?#@]/.test(text), 'must have no user, query or fragment'),
  /** Which token acts with which API key: the first that fits. */
  callers: z.array(Caller).min(1).max(10_000),
});
export type TokenTerms = z.infer<typeof TokenTerms>;

/**
 * The operator's terms for access tokens, from a file. Throws CodedError `config_invalid`, which names every
 * mistake.
 */
export function readTokenTerms(path: string): TokenTerms {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CodedError('config_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
  }
  const parsed = TokenTerms.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
  throw new CodedError('config_invalid', `${path} names no issuer of tokens: ${problems.join('; ').slice(0, 1_000)}.`);
}

/** What RFC 9728 says of a resource. */
export const ResourceMetadata = z.strictObject({
  resource: z.url().describe('the address of `POST /mcp`, which tokens must be issued for'),
  authorization_servers: z.array(z.url()).describe('who issues them'),
  bearer_methods_supported: z.array(z.literal('header')),
  resource_name: z.string(),
});
export type ResourceMetadata = z.infer<typeof ResourceMetadata>;

export const resourceMetadata = ({ resource, issuer }: TokenTerms): ResourceMetadata => ({
  resource,
  authorization_servers: [issuer],
  bearer_methods_supported: ['header'],
  resource_name: 'Countersign',
});

/** Where `resourceMetadata` is served. */
export const metadataUrl = ({ resource }: TokenTerms): string => `${new URL(resource).origin}${METADATA_PATH}${PATH}`;

/** The scopes that a token never has more than, whichever key it acts with: nothing here manages anything. */
const TOKEN_SCOPES: readonly Scope[] = ['submit', 'read', 'read_all'];

/** The holder of a key as far as a token acts for it. */
export const asTokenHolder = (caller: ApiCaller): ApiCaller => ({
  ...caller,
  scopes: new Set(TOKEN_SCOPES.filter((scope) => caller.scopes.has(scope))),
});

/** For whom a token acts. */
export interface TokenHolder {
  /** The id of the API key whose powers it has. */
  readonly keyId: string;
  /** The only owner whose memories it reaches; undefined for those that the key reaches. */
  readonly owner: string | undefined;
}

/** Whom a verified token acts for. Throws CodedError `token_refused` where it is nobody. */
export function holderOf({ callers }: TokenTerms, payload: JWTPayload): TokenHolder {
  const caller = callers.find(({ claims }) =>
    Object.entries(claims).every(([name, value]) => {
      const claimed = claimOf(payload, name);
      return Array.isArray(claimed) ? claimed.includes(value) : claimed === value;
    }),
  );
  if (caller === undefined)
    throw new CodedError('token_refused', 'The operator has named no API key that this access token acts with.');
  if (caller.owner === undefined) return { keyId: caller.key, owner: undefined };
  const owner = OwnerName.safeParse(claimOf(payload, caller.owner));
  if (!owner.success)
    throw new CodedError('token_refused', `The claim ${caller.owner} of this access token names no owner of memories.`);
  return { keyId: caller.key, owner: owner.data };
}

const claimOf = (payload: JWTPayload, name: string): unknown =>
  Object.hasOwn(payload, name) ? payload[name] : undefined;

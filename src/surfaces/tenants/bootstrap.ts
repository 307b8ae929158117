import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { HOUSE, SCOPES } from './api-key.ts';

/**
 * The first tenant of an installation, and the first API key, which is the operator's. The file has the key's digest and not the key:
 * who reads it can use nothing.
 */
export const BootstrapFile = z.strictObject({
  version: z.literal(1),
  tenant: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  key: z.strictObject({
    id: z.string().regex(/^[0-9a-f]{16}$/),
    hash: z.string().regex(/^[0-9a-f]{64}$/),
    scopes: z.array(z.enum(SCOPES)).min(1),
    name: z.string().max(200),
  }),
  /** After this time it is never taken in, so that a forgotten file opens no later Redis. */
  expires: z.iso.datetime(),
});
export type BootstrapFile = z.infer<typeof BootstrapFile>;

const TAKE = loadScript(new URL('./lua/take-bootstrap.lua', import.meta.url), integer);

/** Reads a bootstrap file. Throws CodedError `config_invalid`. */
export function readBootstrap(path: string): BootstrapFile {
  try {
    return BootstrapFile.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new CodedError('config_invalid', `${path} is no bootstrap file: ${messageOf(cause).slice(0, 300)}`, {
      cause,
      hint: 'countersign init makes it; without COUNTERSIGN_BOOTSTRAP none is read',
    });
  }
}

/**
 * Takes tenant and key into Redis, once for all: any number of API processes may start at the same time, and
 * again. Returns whether it was done now, or before, or not at all because the file has expired. Throws what
 * Redis answers.
 */
export async function takeBootstrap(
  redis: Redis,
  keys: RedisKeys,
  { tenant, key, expires }: BootstrapFile,
): Promise<'taken' | 'before' | 'expired'> {
  const now = new Date();
  if (now.getTime() > Date.parse(expires)) return 'expired';
  const taken = await TAKE.run(
    redis,
    [keys.tenant(tenant), keys.tenants, keys.apiKey(key.id), keys.apiKeys, keys.tenant(HOUSE)],
    [tenant, key.id, key.hash, key.scopes.join(' '), key.name, now.toISOString(), now.getTime(), keys.audit, HOUSE],
  );
  return taken === 1 ? 'taken' : 'before';
}

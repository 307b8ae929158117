import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { AuditLog, hset } from '../../core/audit/audit-log.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { HOUSE, SCOPES } from './api-key.ts';

/**
 * The first tenant of an installation, and the first API key, which is the operator's. The file has the key's
 * digest and not the key: who reads it can use nothing.
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
  const createdAt = now.toISOString();
  const isTaken = await new AuditLog(redis, keys).with(
    { by: 'bootstrap', action: 'key.create', target: key.id, tenant: HOUSE, detail: { scopes: key.scopes, tenant } },
    [
      // Tenants that are there already keep their limits and standing.
      ...[tenant, HOUSE].flatMap((name) => [
        ['HSETNX', keys.tenant(name), 'createdAt', createdAt],
        ['HSETNX', keys.tenant(name), 'limits', '{}'],
        ['SADD', keys.tenants, name],
      ]),
      hset(keys.apiKey(key.id), {
        hash: key.hash,
        tenant: HOUSE,
        scopes: key.scopes.join(' '),
        name: key.name,
        createdAt,
      }),
      ['ZADD', keys.apiKeys, now.getTime(), key.id],
    ],
    // The record stays when the key is revoked or has expired: the file brings back no key that somebody
    // ended.
    keys.apiKey(key.id),
  );
  return isTaken ? 'taken' : 'before';
}

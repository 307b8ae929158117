import { z } from 'zod';

/** A whole number from the environment, within bounds. */
export const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** Variables of every role that uses Redis. */
export const redisFields = {
  COUNTERSIGN_REDIS_URL: z
    .string()
    .regex(/^(redis|rediss|unix):\/\//, 'must begin with redis://, rediss:// or unix://')
    .describe('address of Redis: `redis://host:port`, `rediss://…` or `unix:///path/to/socket`'),
  COUNTERSIGN_REDIS_USER: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('Redis ACL user; by default the name of the role'),
  COUNTERSIGN_REDIS_PASSWORD_FILE: z
    .string()
    .optional()
    .describe('file with the password of that user, readable by its owner only'),
  COUNTERSIGN_SHARD: z
    .string()
    .regex(/^[a-z][a-z0-9]{0,15}$/, 'must be 1 to 16 lower-case letters and digits')
    .default('cs')
    .describe('name of the shard: the Redis Cluster hash tag of all its keys'),
} as const;

/** Variables of every role that runs or confirms jobs or takes them in. */
export const commonFields = {
  COUNTERSIGN_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('least severe level that is logged'),
  COUNTERSIGN_BLOBS: z
    .string()
    .min(1)
    .describe('folder of blobs; of a worker the one of its pool in it, `pools/<pool>`'),
  COUNTERSIGN_CATALOG: z.string().min(1).describe('file with the model catalog'),
} as const;

const isLoopback = ({ hostname }: URL) => ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);

/**
 * The base URL of a service whose answers are trusted: over TLS or on this machine; without a slash at its
 * end.
 */
export const trustedBase = z
  .url({ protocol: /^https?$/ })
  .refine((text) => new URL(text).protocol === 'https:' || isLoopback(new URL(text)), 'must be https')
  .transform((text) => text.replace(/\/+$/, ''));

import { z } from 'zod';
import { messageOf } from '../errors/coded-error.ts';
import { objectFields, storagePlace } from './object-fields.ts';
import { parseRedisAddress } from './redis-address.ts';

/** A whole number from the environment, within bounds. */
export const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** Variables of every role that uses Redis. */
export const redisFields = {
  COUNTERSIGN_REDIS_URL: z
    .string()
    .superRefine((text, context) => {
      try {
        parseRedisAddress(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) });
      }
    })
    .describe(
      'address of Redis: `redis://host:port`, `redis+sentinel://a,b,c/name`, `redis+cluster://a,b,c` (`rediss…` for TLS), or `unix:///path/to/socket`',
    ),
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
  COUNTERSIGN_SENTINEL_USER: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('user at the sentinels, where they have users of their own'),
  COUNTERSIGN_SENTINEL_PASSWORD_FILE: z
    .string()
    .optional()
    .describe('file with the password at the sentinels, readable by its owner only'),
  COUNTERSIGN_SHARD: z
    .string()
    .regex(/^[a-z][a-z0-9]{0,15}$/, 'must be 1 to 16 lower-case letters and digits')
    .default('cs')
    .describe('name of the shard: the Redis Cluster hash tag of all its keys'),
} as const;

/** Variables of every role whose writes are promises: an accepted job, a published checkpoint. */
export const promiseFields = {
  COUNTERSIGN_DURABILITY: z
    .string()
    .regex(/^(always|everysec|replicas:[1-9])$/, 'must be always, everysec or replicas:N with N from 1 to 9')
    .default('always')
    .describe(
      'what an accepted job and a published checkpoint wait for: `always` (the disk of Redis), `everysec` (nothing more than an answer), or `replicas:N` (N replicas)',
    ),
} as const;

/** Variables of every role that runs or confirms jobs or takes them in. */
export const commonFields = {
  COUNTERSIGN_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('least severe level that is logged'),
  COUNTERSIGN_BLOBS: storagePlace.describe(
    'folder of blobs, or `s3://bucket/prefix`; of a worker the one of its pool in it, `pools/<pool>`',
  ),
  ...objectFields,
  COUNTERSIGN_CATALOG: z.string().min(1).describe('file with the model catalog'),
} as const;

/** Variables of every role that loads models. */
export const engineFields = {
  COUNTERSIGN_GPU_BUILD: z
    .string()
    .min(1)
    .optional()
    .describe("folder with the in-process engine's build for GPUs, as `countersign setup --gpu` printed it"),
} as const;

/** Variables of every role that tells a collector what it does. */
export const tracingFields = {
  COUNTERSIGN_OTLP_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .refine((text) => new URL(text).username === '' && new URL(text).password === '', 'must hold no password')
    .optional()
    .describe(
      'address of an OpenTelemetry collector (OTLP over HTTP), such as `http://127.0.0.1:4318`; without it, nothing is traced; see `docs/tracing.md`',
    ),
  COUNTERSIGN_TRACE_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('share of the requests that no caller traces which are traced'),
} as const;

/** Variables of every role that serves nothing but how it is. */
export const metricsFields = {
  COUNTERSIGN_METRICS_PORT: integer(0, 65_535)
    .optional()
    .describe('port that serves `/metrics` and `/health`; without it, none does; 0 takes any free port'),
  COUNTERSIGN_METRICS_HOST: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('address to listen on for `/metrics` and `/health`'),
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

import { z } from 'zod';
import type { ErrorCode } from '../../ground/errors/catalog.ts';
import type { Scope } from '../../surfaces/tenants/api-key.ts';
import type { TAGS } from './operation-tags.ts';

/**
 * A body: its media type, the schema that checks or types it, and the name under which OpenAPI lists the
 * schema.
 */
export interface Content {
  readonly description: string;
  readonly type: string;
  readonly name?: string;
  readonly schema: z.ZodType;
  readonly example?: unknown;
  /** Whether the caller may leave the body out. */
  readonly isOptional?: true;
}

/**
 * One route: what it takes, answers and refuses. The schemas are those that the code itself uses. Tests
 * compare this table with the routes that the server really has, and its schemas with real answers.
 */
export interface Operation {
  readonly id: string;
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  readonly path: string;
  readonly tag: keyof typeof TAGS;
  /** A few words; `description` says what is to be known besides. */
  readonly summary: string;
  readonly description?: string;
  readonly scope: Scope | null;
  /** Whether a payment may stand in for the API key. */
  readonly isPayable?: true;
  readonly parameters?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly headers?: z.ZodObject;
  readonly body?: Content;
  /** The fields of a body of the type multipart/form-data. */
  readonly form?: Content;
  readonly success: Readonly<Record<string, Content>>;
  /** What comes with the status 200 where the caller asks for a stream. */
  readonly streamed?: Content;
  readonly errors: readonly ErrorCode[];
}

const JSON_TYPE = 'application/json';
const EVENT_STREAM = 'text/event-stream';

export function json(description: string, name: string, schema: z.ZodType, example?: unknown): Content {
  return { description, type: JSON_TYPE, name, schema, ...(example === undefined ? {} : { example }) };
}

/** A body of JSON that the caller sends. */
export function body(name: string, schema: z.ZodType, example?: unknown): Content {
  return json('', name, schema, example);
}

export function text(description: string, type = 'text/plain'): Content {
  return { description, type, schema: z.string() };
}

export function bytes(description: string): Content {
  return { description, type: 'application/octet-stream', schema: z.file() };
}

/** A stream of events; with the schema of their data where all are alike. */
export function events(description: string, name?: string, schema: z.ZodType = z.string()): Content {
  return { description, type: EVENT_STREAM, schema, ...(name === undefined ? {} : { name }) };
}

/**
 * A parameter of a path. What names nothing answers 404, so that a stranger learns nothing from its shape.
 */
export function inPath(name: string, description: string, example: string) {
  return z.strictObject({
    [name]: z
      .string()
      .describe(description)
      .meta({ examples: [example] }),
  });
}

export const PAYMENT_ERRORS = [
  'payment_required',
  'payment_used',
  'payment_unverified',
] as const satisfies readonly ErrorCode[];

/** The limits of a tenant or its key do not allow it, now or at all. */
export const LIMIT_ERRORS = [
  'spend_held',
  'spend_exceeded',
  'request_exceeds_limit',
] as const satisfies readonly ErrorCode[];

export const WITHHELD_ERRORS = ['payment_failed', 'payment_pending'] as const satisfies readonly ErrorCode[];

/** What can be wrong with a request to any of the endpoints that OpenAI's clients send work to. */
export const OPENAI_ERRORS = [
  'request_invalid',
  'context_length_exceeded',
  'overloaded',
  'body_not_json',
  'body_too_large',
  'media_type_unsupported',
  'model_not_found',
  'task_not_supported',
  'feature_not_supported',
  'idempotency_key_reused',
  'attestation_unavailable',
  'share_exceeded',
  'attestation_backlog',
  'deadline_unreachable',
  'pool_draining',
  'answer_refuted',
  'job_failed',
  'job_expired',
  'job_cancelled',
  'too_many_streams',
] as const satisfies readonly ErrorCode[];

import { z } from 'zod';
import { Announcement } from '../../core/catalog/announcement.ts';
import { TASKS } from '../../proof/receipts/fields.ts';

/** A model in OpenAI's shape, with what serves it now. */
export const ModelDocument = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int().describe('seconds since 1970: when this process read the catalog'),
  owned_by: z.literal('countersign'),
  pool: z.string(),
  tasks: z.array(z.enum(TASKS)),
  engine: z.string(),
  sha256: z.string(),
  weights: z.enum(['declared', 'measured']),
  workers: z.int().describe('workers that take jobs for it now'),
  loaded_workers: z.int().describe('those of them that have it in memory'),
  cold_ms: z.int().nullable().describe('what a load of it takes where none has it in memory; else null'),
  recomputing_attestors: z.int().describe('attestors that can compute its answers again now'),
});
export type ModelDocument = z.infer<typeof ModelDocument>;

export const ModelList = z.strictObject({ object: z.literal('list'), data: z.array(ModelDocument) });
export type ModelList = z.infer<typeof ModelList>;

export const Participants = z.strictObject({
  workers: z.array(Announcement),
  attestors: z.array(Announcement),
  quarantined: z.array(z.string()).describe('ids of workers that a sequential test has put aside'),
});
export type Participants = z.infer<typeof Participants>;

export const Liveness = z.strictObject({ live: z.literal(true) });
export type Liveness = z.infer<typeof Liveness>;

export const Readiness = z.strictObject({
  ready: z.boolean(),
  redis: z.boolean(),
  workers: z.int(),
  attestors: z.int(),
  detail: z.string(),
});
export type Readiness = z.infer<typeof Readiness>;

/** What somebody needs who has nothing but the address. */
export const Welcome = z.strictObject({
  name: z.literal('Countersign'),
  what: z.string(),
  documentation: z.string().describe('path of the page that describes every route'),
  openapi: z.string().describe('path of the OpenAPI description'),
  keyring: z.string().describe('path of the public keys by which receipts are verified'),
  readiness: z.string().describe('path that says whether a job sent now would be worked on and confirmed'),
});
export type Welcome = z.infer<typeof Welcome>;

/** As far as this service makes one. */
export const OpenApiDocument = z.strictObject({
  openapi: z.literal('3.1.0'),
  info: z.record(z.string(), z.unknown()),
  servers: z.array(z.strictObject({ url: z.string() })),
  tags: z.array(z.strictObject({ name: z.string(), description: z.string() })),
  paths: z.record(z.string(), z.record(z.string(), z.unknown())),
  components: z.strictObject({
    securitySchemes: z.record(z.string(), z.unknown()),
    schemas: z.record(z.string(), z.unknown()),
  }),
});
export type OpenApiDocument = z.infer<typeof OpenApiDocument>;

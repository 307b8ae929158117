import { z } from 'zod';

/**
 * Portable Memory `.mem` 1.1 (MacPaw/portable-memory, Spec/portable-memory-spec.md): its canonical JSON, its
 * manifest and the records that can hold a memory of ours.
 */

/** Its canonical JSON: like RFC 8785, but members in the order of their code points, and big integers. */
export function memCanonical(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(memCanonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) {
    if (typeof value === 'string' && /\p{Surrogate}/u.test(value))
      throw new TypeError('A text holds half a character.');
    return JSON.stringify(Object.is(value, -0) ? 0 : value);
  }
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${members.map(([name, member]) => `${memCanonical(name)}:${memCanonical(member)}`).join(',')}}`;
}

/** A time of its form: whole seconds, the rest cut away. */
export const memTime = (time: string): string => `${time.slice(0, 19)}Z`;

/** A file of a bundle: letters, digits and `_-.` between slashes, and no way out of its folder. */
export const MemPath = z.string().regex(/^(?:items|audit|embeddings|provenance)\/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+$/);
const Hex = z.string().regex(/^[0-9a-f]{64}$/);

export const MemManifest = z.looseObject({
  format: z.string().regex(/^\d+\.\d+\.\d+$/),
  generator: z.string(),
  conformanceLevel: z.enum(['L0', 'L1', 'L2', 'L3']),
  createdAt: z.string(),
  exportMode: z.enum(['full', 'incremental']),
  schemaVersion: z.number().int(),
  embeddingModel: z.string(),
  embeddingDim: z.number().int(),
  embeddingsIncluded: z.boolean(),
  capabilities: z.array(z.string()),
  counts: z.record(z.string(), z.number().int().min(0)),
  files: z.array(z.strictObject({ path: MemPath, sha256: Hex, bytes: z.number().int().min(0) })).max(1_000),
  bundleDigest: Hex.optional(),
});
export type MemManifest = z.infer<typeof MemManifest>;

/** The records that say something which a memory can say. What else they hold is not read. */
export const MemEpisode = z.looseObject({
  id: z.string(),
  details: z.string(),
  summary: z.string(),
  eventTime: z.string().nullish(),
  contextID: z.string().nullish(),
  categories: z.array(z.string()).catch([]),
  metadata: z.record(z.string(), z.string()).catch({}),
  speaker: z.string().nullish(),
  deletedAt: z.string().nullish(),
  claimClass: z.string().nullish(),
  countersign: z.object({ entry: z.unknown() }).nullish().catch(null),
});
export const MemFact = z.looseObject({
  id: z.string(),
  episodeID: z.string(),
  text: z.string(),
  tValidFrom: z.string().nullish(),
  tValidTo: z.string().nullish(),
});
export const MemCore = z.looseObject({ id: z.string(), content: z.string() });
export const MemPreference = z.looseObject({ key: z.string(), value: z.string() });
export const MemTombstone = z.looseObject({
  id: z.string(),
  op: z.enum(['delete', 'redact']),
  targetKind: z.string(),
  targetID: z.string(),
  deletedAt: z.string(),
});

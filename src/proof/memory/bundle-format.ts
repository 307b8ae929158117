import { z } from 'zod';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { Count, MemoryId, Sha256, Time } from '../receipts/fields.ts';
import { MAX_RECEIPT_BYTES } from '../receipts/receipt.ts';
import { ENTRY_LIMITS, entryLine, lineDigest, tombstoneLine, type MemoryEntry, type MemoryTombstone } from './entry.ts';

/**
 * The lines of a memory bundle, as docs/memory-bundle.md specifies them: a head, receipts in the order of
 * their digests, records (entries and tombstones) in the order of their ids, each entry followed by its
 * vectors, and a manifest. All that names an instance, a time or a signer stands in the manifest, so that
 * the lines before it are the same bytes in every export of the same memories.
 */
export const BUNDLE_FORMAT = 'countersign-memory/1';
export const HEAD_LINE = canonicalJson({ format: BUNDLE_FORMAT });

/** What the manifest is signed as (DSSE payload type). */
export const MANIFEST_TYPE = 'application/vnd.countersign.memory-bundle+json';

/** How many records one block of the manifest covers. */
export const BLOCK_RECORDS = 1_024;
export const MAX_BUNDLE_RECORDS = 10_000_000;
const MAX_BLOCKS = Math.ceil(MAX_BUNDLE_RECORDS / BLOCK_RECORDS);
const MAX_EMBEDDERS = 16;
const MAX_DIMENSIONS = 8_192;

/** The longest line: an entry with its history, a receipt whose text needs escapes, or the manifest. */
export const MAX_LINE_BYTES = ENTRY_LIMITS.lineBytes + 1_024;
export { MAX_RECEIPT_BYTES };

/** One vector of an entry: 32-bit floats, little endian, as base64. */
export const BundleVector = z.strictObject({
  embedder: Sha256.describe('the digest of what computed it'),
  id: MemoryId,
  values: z.base64().max(MAX_DIMENSIONS * 6),
});
export type BundleVector = z.infer<typeof BundleVector>;

const Section = z.strictObject({ count: Count, sha256: Sha256 });

export const BundleManifest = z.strictObject({
  format: z.literal(BUNDLE_FORMAT),
  created_at: Time,
  instance: z.string().max(512).nullable().describe('the instance that wrote it'),
  owner: z.string().max(256).nullable().describe('whose memories they are there'),
  receipts: Section,
  records: z.strictObject({
    entries: Count,
    tombstones: Count,
    sha256: Sha256,
    blocks: z.array(z.strictObject({ last: MemoryId, sha256: Sha256 })).max(MAX_BLOCKS),
  }),
  vectors: z.strictObject({
    ...Section.shape,
    embedders: z
      .array(z.strictObject({ sha256: Sha256, dimensions: z.number().int().min(1).max(MAX_DIMENSIONS) }))
      .max(MAX_EMBEDDERS),
  }),
});
export type BundleManifest = z.infer<typeof BundleManifest>;

/** What a bundle says of its lines, whoever wrote it and whenever. */
export type BundleContent = Pick<BundleManifest, 'receipts' | 'records' | 'vectors'>;

export const ManifestLine = z.strictObject({
  manifest: BundleManifest,
  signature: z.strictObject({ key: Sha256, sig: z.base64().length(88) }).nullable(),
});
export type ManifestLine = z.infer<typeof ManifestLine>;

/** A line of a bundle between its head and its manifest. */
export type BundleItem =
  | { readonly kind: 'receipt'; readonly digest: string; readonly text: string }
  | { readonly kind: 'entry'; readonly digest: string; readonly entry: MemoryEntry }
  | { readonly kind: 'tombstone'; readonly digest: string; readonly tombstone: MemoryTombstone }
  | { readonly kind: 'vector'; readonly digest: string; readonly vector: BundleVector };

/** The kinds of lines between head and manifest; each is also the name of the member that it holds. */
export const ITEM_KINDS = ['receipt', 'entry', 'tombstone', 'vector'] as const;
export type ItemKind = (typeof ITEM_KINDS)[number];

/** The line of a receipt file with this text. */
export function receiptItemLine(text: string): string {
  return itemLine('receipt', lineDigest(text), JSON.stringify(text));
}

/** The line of an entry. Throws EntryRefused for what has no canonical form. */
export function entryItemLine(entry: MemoryEntry): string {
  const line = entryLine(entry);
  return itemLine('entry', lineDigest(line), line);
}

/** The line of a tombstone. */
export function tombstoneItemLine(tombstone: MemoryTombstone): string {
  const line = tombstoneLine(tombstone);
  return itemLine('tombstone', lineDigest(line), line);
}

/** The line of a vector. */
export function vectorItemLine(vector: BundleVector): string {
  const line = canonicalJson(vector);
  return itemLine('vector', lineDigest(line), line);
}

// `digest` comes before every kind in the order of RFC 8785, so that the line is canonical as well.
function itemLine(kind: ItemKind, digest: string, held: string): string {
  return `{"digest":"${digest}","${kind}":${held}}`;
}

/** 32-bit floats in the form of a bundle. */
export function encodeVector(values: Float32Array): string {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => bytes.writeFloatLE(value, at * 4));
  return bytes.toString('base64');
}

/** The floats of a vector in a bundle, or undefined where the bytes are no finite 32-bit floats. */
export function decodeVector(values: string): Float32Array | undefined {
  const bytes = Buffer.from(values, 'base64');
  if (bytes.length === 0 || bytes.length % 4 !== 0 || bytes.toString('base64') !== values) return undefined;
  const floats = Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(at * 4));
  return floats.every(Number.isFinite) ? floats : undefined;
}

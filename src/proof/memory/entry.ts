import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { decodeUtf8, JsonRefused, parseStrictJson } from '../../ground/json/strict-json.ts';
import { JobId, MemoryId, Sha256, Time } from '../receipts/fields.ts';

/**
 * One memory as it is carried from one instance to another, and its digest (docs/memory-bundle.md).
 *
 * The bytes of an entry are its canonical JSON (RFC 8785), so that anyone can make them again from the values
 * and every changed byte is noticed. Its digest is the SHA-256 of these bytes. An entry holds a random salt:
 * a digest that is left in a receipt, a ticket or a log after the memory was erased cannot be guessed back,
 * however short the text was.
 */

/** From where a memory can come, from the least trusted to the most. */
export const ORIGIN_KINDS = ['import', 'tool', 'model', 'user'] as const;
export type OriginKind = (typeof ORIGIN_KINDS)[number];

export const MEMORY_TYPES = ['semantic', 'episodic'] as const;

/** The bounds of an entry; a store refuses what would leave them. */
export const ENTRY_LIMITS = {
  textChars: 16_384,
  metadataBytes: 16_384,
  metadataDepth: 8,
  origins: 64,
  links: 256,
  history: 1_000,
  /** The longest canonical line of an entry with its history. */
  lineBytes: 4 * 1024 * 1024,
} as const;

/** Whoever kept half a character, which has no canonical form, could carry none of its memories away. */
function isWhole(value: unknown): boolean {
  try {
    canonicalJson(value);
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}
const HALF = 'it holds half a character';

const Salt = z.string().regex(/^[0-9a-f]{32}$/);
const Label = z.string().min(1).max(256).refine(isWhole, HALF);
const Kind = z.enum(ORIGIN_KINDS);
const ids = z.array(MemoryId).max(ENTRY_LIMITS.links);

/** One way in which the platform came to know a memory. The platform writes it, never the text. */
export const MemoryOrigin = z.strictObject({
  kind: Kind,
  at: Time.describe('when the platform took it in'),
  from: Label.nullable().describe('the product of an import, the name of a model or a tool; null for a user'),
  reference: z
    .string()
    .min(1)
    .max(512)
    .refine(isWhole, HALF)
    .nullable()
    .describe('the id of the memory or message where it came from'),
  rests_on: ids.describe('the memories that it was derived from'),
  trust: Kind.describe('its kind, or the least of what it rests on'),
  receipt: z
    .strictObject({ job: JobId, sha256: Sha256 })
    .nullable()
    .describe('the job that derived it, and the digest of its receipt'),
});
export type MemoryOrigin = z.infer<typeof MemoryOrigin>;

/** What a correction changes; former states of an entry stand in its history in this form. */
const state = {
  version: z.number().int().min(1).max(ENTRY_LIMITS.history),
  updated_at: Time,
  type: z.enum(MEMORY_TYPES),
  text: z
    .string()
    .max(ENTRY_LIMITS.textChars)
    .refine((text) => text.trim() !== '', 'the text is blank')
    .refine(isWhole, HALF),
  category: Label.nullable(),
  valid_from: Time.nullable().describe('since when what it says holds'),
  valid_to: Time.nullable().describe('until when what it says holds'),
  metadata: z
    .record(z.string().max(256), z.json())
    .refine(isSmall, 'the metadata is too large or too deep')
    .refine(isWhole, HALF),
  origins: z.array(MemoryOrigin).min(1).max(ENTRY_LIMITS.origins),
  trust: Kind.describe('the most trusted of its origins'),
};

/** A state that an entry once had. */
export const FormerState = z.strictObject(state).superRefine(requireTrust);
export type FormerState = z.infer<typeof FormerState>;

/** A memory with all that is known of it. */
export const MemoryEntry = z
  .strictObject({
    id: MemoryId,
    salt: Salt,
    created_at: Time,
    agent: Label.nullable(),
    thread: Label.nullable(),
    source: Label.nullable().describe('the app that wrote it'),
    supersedes: ids,
    contradicts: ids,
    ...state,
    history: z.array(FormerState).max(ENTRY_LIMITS.history - 1),
  })
  .superRefine((entry, context) => {
    requireTrust(entry, context);
    if (entry.history.some(({ version }, at) => version !== at + 1) || entry.version !== entry.history.length + 1)
      context.addIssue({ code: 'custom', message: 'the versions of the history are not 1, 2, … up to its own' });
  });
export type MemoryEntry = z.infer<typeof MemoryEntry>;

/** What is left of a memory that was taken away: nothing that it said, and no digest of it. */
export const MemoryTombstone = z.strictObject({
  id: MemoryId,
  removed_at: Time,
  reason: z.enum(['erased', 'expired', 'merged']),
  merged_into: MemoryId.nullable().describe('the memory that holds its origins now, where it was merged'),
  receipt: Sha256.nullable().describe('the digest of the deletion receipt, where there is one'),
});
export type MemoryTombstone = z.infer<typeof MemoryTombstone>;

/** Why an entry or a tombstone is refused, with its id where it shows one. */
export class EntryRefused extends Error {
  override readonly name = 'EntryRefused';
  readonly id: string | undefined;

  constructor(message: string, id?: string) {
    super(message);
    this.id = id;
  }
}

/** How far an origin of this kind is trusted that rests on memories of these trusts: as the least. */
export function trustOfOrigin(kind: OriginKind, restsOn: readonly OriginKind[]): OriginKind {
  return restsOn.reduce(lesser, kind);
}

/**
 * How far a memory is trusted that came in these ways, each by itself: as the most trusted of them. Whoever
 * says the same as a tool did says it nevertheless. Throws RangeError without an origin.
 */
export function trustOfOrigins(origins: readonly Pick<MemoryOrigin, 'trust'>[]): OriginKind {
  const [first, ...others] = origins.map(({ trust }) => trust);
  if (first === undefined) throw new RangeError('A memory without an origin has no trust.');
  return others.reduce((best, one) => (lesser(best, one) === best ? one : best), first);
}

/** The canonical line of an entry, without its line end. Throws EntryRefused for half a character. */
export function entryLine(entry: MemoryEntry): string {
  return canonicalLine(entry);
}

/** The canonical line of a tombstone, without its line end. */
export function tombstoneLine(tombstone: MemoryTombstone): string {
  return canonicalLine(tombstone);
}

/** The SHA-256 of a canonical line, as 64 hexadecimal digits: the content digest of what stands in it. */
export function lineDigest(line: string | Uint8Array): string {
  return sha256Hex(line);
}

/** The entry of a canonical line. Throws EntryRefused, with the id of the entry where it shows one. */
export function readEntry(line: Uint8Array): MemoryEntry {
  return readLine(line, MemoryEntry);
}

/** The tombstone of a canonical line. Throws EntryRefused. */
export function readTombstone(line: Uint8Array): MemoryTombstone {
  return readLine(line, MemoryTombstone);
}

/** Deep enough for the metadata of a state in the history of an entry. */
const MAX_DEPTH = ENTRY_LIMITS.metadataDepth + 4;

function readLine<Value extends object>(line: Uint8Array, schema: z.ZodType<Value>): Value {
  if (line.length > ENTRY_LIMITS.lineBytes)
    throw new EntryRefused(`The line is longer than ${ENTRY_LIMITS.lineBytes} bytes.`);
  let value: unknown;
  let text: string;
  try {
    text = decodeUtf8(line);
    value = parseStrictJson(text, { maxDepth: MAX_DEPTH });
  } catch (error) {
    if (error instanceof JsonRefused) throw new EntryRefused(error.message);
    throw error;
  }
  const id = idIn(value);
  const read = schema.safeParse(value);
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new EntryRefused(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not as the format says'}`, id);
  }
  if (canonicalLine(read.data, id) !== text)
    throw new EntryRefused('The line is not the canonical JSON of its values (RFC 8785).', id);
  return read.data;
}

function canonicalLine(value: object, id?: string): string {
  try {
    return canonicalJson(value);
  } catch (error) {
    if (error instanceof TypeError) throw new EntryRefused(error.message, id);
    throw error;
  }
}

function idIn(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('id' in value)) return undefined;
  const id = MemoryId.safeParse(value.id);
  return id.success ? id.data : undefined;
}

function lesser(a: OriginKind, b: OriginKind): OriginKind {
  return ORIGIN_KINDS.indexOf(a) <= ORIGIN_KINDS.indexOf(b) ? a : b;
}

interface Trusted {
  readonly trust: OriginKind;
  readonly origins: readonly MemoryOrigin[];
}

/** A trust above that of the origins is refused: it would be laundered by being written down. */
function requireTrust({ trust, origins }: Trusted, context: z.RefinementCtx): void {
  if (origins.some((origin) => lesser(origin.kind, origin.trust) !== origin.trust))
    context.addIssue({ code: 'custom', message: 'an origin is trusted more than its kind is' });
  if (origins.length > 0 && trustOfOrigins(origins) !== trust)
    context.addIssue({ code: 'custom', message: 'the trust is not that of its origins' });
}

function isSmall(metadata: Record<string, unknown>): boolean {
  return (
    isShallow(metadata, ENTRY_LIMITS.metadataDepth) && JSON.stringify(metadata).length <= ENTRY_LIMITS.metadataBytes
  );
}

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return depth > 0 && Object.values(value).every((member) => isShallow(member, depth - 1));
}

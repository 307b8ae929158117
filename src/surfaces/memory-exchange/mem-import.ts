import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { byteLines } from '../../ground/json/byte-lines.ts';
import { decodeUtf8, JsonRefused, parseStrictJson } from '../../ground/json/strict-json.ts';
import { publicKeyFromRaw, verifyBytes } from '../../ground/keys/signing-key.ts';
import { MemoryEntry } from '../../proof/memory/entry.ts';
import { MemoryId } from '../../proof/receipts/fields.ts';
import { itemsOf, labelOf, timeOf, whyOf, type ImportFile, type ImportItem } from './imported.ts';
import { MemCore, MemEpisode, MemFact, MemManifest, MemPath, MemPreference, MemTombstone } from './mem-format.ts';

const MAX_FILE_BYTES = 256 * 1024 * 1024;
const MAX_MANIFEST_BYTES = 1_048_576;
const MAX_LINE_BYTES = 4 * 1024 * 1024;
const MAX_DEPTH = 32;
const MAX_TOMBSTONES = 1_000_000;

/** A `.mem` bundle whose files are those of its manifest. */
export interface MemBundle {
  readonly manifest: MemManifest;
  /** The 32 bytes of the key that signed the manifest, in hexadecimal digits; undefined where nobody did. */
  readonly signedBy: string | undefined;
  file(path: string): ImportFile | undefined;
}

/** Whether files with these names are a `.mem` bundle, at the top or in one folder. */
export const isMemBundle = (files: readonly ImportFile[]): boolean => folderOf(files) !== undefined;

/**
 * Verifies a `.mem` bundle: every size and digest, no file that the manifest does not list, the checksums and
 * the digest of the bundle, and the signature where there is one. Throws CodedError `bundle_refused`.
 */
export async function openMem(files: readonly ImportFile[]): Promise<MemBundle> {
  const folder = folderOf(files);
  if (folder === undefined) throw refusal('it has no manifest.json');
  const byPath = new Map(
    files.filter(({ name }) => name.startsWith(folder)).map((file) => [file.name.slice(folder.length), file]),
  );
  const bytes = await wholeOf(byPath.get('manifest.json'), MAX_MANIFEST_BYTES);
  const manifest = manifestIn(bytes);
  const listed = new Set(manifest.files.map(({ path }) => path));
  if (listed.size < manifest.files.length) throw refusal('its manifest lists a file twice');
  for (const path of byPath.keys())
    if (/^(?:items|audit|embeddings|provenance)\//.test(path) && !listed.has(path))
      throw refusal(`its manifest does not list ${JSON.stringify(path.slice(0, 100))}`);
  for (const { path, sha256, bytes: size } of manifest.files) {
    const found = await measured(byPath.get(path), path);
    if (found.sha256 !== sha256 || found.bytes !== size) throw refusal(`${path} is not the file that was listed`);
  }
  await requireChecksums(byPath, manifest);
  const signature = byPath.get('manifest.sig');
  const signedBy = signature === undefined ? undefined : signerOf(bytes, await wholeOf(signature, 1_024));
  return { manifest, signedBy, file: (path) => byPath.get(path) };
}

/** What a verified bundle says: tombstones first, and nothing that one of them names. */
export async function* memItems(bundle: MemBundle): AsyncGenerator<ImportItem> {
  const buried = new Set<string>();
  for await (const { value, where } of recordsOf(bundle, 'audit/tombstones.jsonl', MemTombstone)) {
    if ('why' in value) {
      yield { kind: 'fault', where, why: value.why };
      continue;
    }
    const { targetID, targetKind, deletedAt } = value.record;
    if (buried.size >= MAX_TOMBSTONES) throw refusal(`it has more than ${MAX_TOMBSTONES} tombstones`);
    buried.add(`${targetKind}:${targetID}`);
    const [id, removedAt] = [MemoryId.safeParse(targetID), timeOf(deletedAt)];
    if (targetKind === 'episode' && id.success && removedAt !== null)
      yield {
        kind: 'tombstone',
        tombstone: { id: id.data, removed_at: removedAt, reason: 'erased', merged_into: null, receipt: null },
        where,
      };
    else yield { kind: 'skipped', reason: `tombstone of ${targetKind.slice(0, 40)}`, where };
  }
  for (const { path } of bundle.manifest.files) {
    const kind = /^items\/([^.]+)\.jsonl$/.exec(path)?.[1];
    if (kind === 'episode') yield* episodeItems(bundle, path, buried);
    else if (kind === 'fact') yield* factItems(bundle, path, buried);
    else if (kind === 'core') yield* coreItems(bundle, path);
    else if (kind === 'preference') yield* preferenceItems(bundle, path);
    else if (kind !== undefined) yield* skippedLines(bundle, path, `record of the kind ${kind.slice(0, 40)}`);
  }
}

async function* episodeItems(bundle: MemBundle, path: string, buried: ReadonlySet<string>): AsyncGenerator<ImportItem> {
  for await (const { value, where } of recordsOf(bundle, path, MemEpisode)) {
    if ('why' in value) {
      yield { kind: 'fault', where, why: value.why };
      continue;
    }
    const { record } = value;
    if (buried.has(`episode:${record.id}`) || record.deletedAt != null) {
      yield { kind: 'skipped', reason: 'deleted there', where };
      continue;
    }
    const entry = MemoryEntry.safeParse(record.countersign?.entry);
    if (entry.success && entry.data.id === record.id && entry.data.text === record.details) {
      yield { kind: 'entry', entry: entry.data, where };
      continue;
    }
    const [category, ...others] = record.categories;
    yield* itemsOf(
      {
        text: record.details === '' ? record.summary : record.details,
        type: 'episodic',
        from: 'Portable Memory',
        reference: record.id,
        category: labelOf(category),
        thread: labelOf(record.contextID),
        valid_from: timeOf(record.eventTime),
        metadata: {
          ...record.metadata,
          ...(others.length === 0 ? {} : { categories: others }),
          ...(record.speaker == null ? {} : { speaker: record.speaker }),
        },
      },
      where,
    );
  }
}

async function* factItems(bundle: MemBundle, path: string, buried: ReadonlySet<string>): AsyncGenerator<ImportItem> {
  for await (const { value, where } of recordsOf(bundle, path, MemFact)) {
    if ('why' in value) {
      yield { kind: 'fault', where, why: value.why };
      continue;
    }
    const { id, episodeID, text, tValidFrom, tValidTo } = value.record;
    if (buried.has(`fact:${id}`) || buried.has(`episode:${episodeID}`))
      yield { kind: 'skipped', reason: 'deleted there', where };
    else
      yield* itemsOf(
        { text, from: 'Portable Memory', reference: id, valid_from: timeOf(tValidFrom), valid_to: timeOf(tValidTo) },
        where,
      );
  }
}

async function* coreItems(bundle: MemBundle, path: string): AsyncGenerator<ImportItem> {
  for await (const { value, where } of recordsOf(bundle, path, MemCore))
    if ('why' in value) yield { kind: 'fault', where, why: value.why };
    else
      yield* itemsOf(
        { text: value.record.content, from: 'Portable Memory', reference: value.record.id, category: 'core' },
        where,
      );
}

async function* preferenceItems(bundle: MemBundle, path: string): AsyncGenerator<ImportItem> {
  for await (const { value, where } of recordsOf(bundle, path, MemPreference))
    if ('why' in value) yield { kind: 'fault', where, why: value.why };
    else
      yield* itemsOf(
        { text: `${value.record.key}: ${value.record.value}`, from: 'Portable Memory', category: 'preference' },
        where,
      );
}

async function* skippedLines(bundle: MemBundle, path: string, reason: string): AsyncGenerator<ImportItem> {
  const file = bundle.file(path);
  if (file === undefined) return;
  let number = 0;
  for await (const _ of byteLines(file.open(), MAX_LINE_BYTES)) {
    number += 1;
    yield { kind: 'skipped', reason, where: `${path}, line ${number}` };
  }
}

async function* recordsOf<T>(
  bundle: MemBundle,
  path: string,
  schema: z.ZodType<T>,
): AsyncGenerator<{ value: { record: T } | { why: string }; where: string }> {
  const file = bundle.file(path);
  if (file === undefined) return;
  let number = 0;
  for await (const { bytes } of byteLines(file.open(), MAX_LINE_BYTES)) {
    number += 1;
    yield { value: recordIn(bytes, schema), where: `${path}, line ${number}` };
  }
}

function recordIn<T>(bytes: Uint8Array, schema: z.ZodType<T>): { record: T } | { why: string } {
  try {
    const read = schema.safeParse(parseStrictJson(decodeUtf8(bytes), { maxDepth: MAX_DEPTH }));
    return read.success ? { record: read.data } : { why: whyOf(read.error) };
  } catch (error) {
    if (error instanceof JsonRefused) return { why: error.message };
    throw error;
  }
}

/** Before `manifest.json`: nothing, or one folder. */
function folderOf(files: readonly ImportFile[]): string | undefined {
  const at = files.map(({ name }) => /^((?:[^/]+\/)?)manifest\.json$/.exec(name)?.[1]).find((one) => one !== undefined);
  if (at === undefined) return undefined;
  return files.some(({ name }) => name === `${at}CHECKSUMS`) ? at : undefined;
}

function manifestIn(bytes: Buffer): MemManifest {
  const read = recordIn(bytes, MemManifest);
  if ('why' in read) throw refusal(`its manifest: ${read.why}`);
  if (!read.record.format.startsWith('1.')) throw refusal(`its format is ${read.record.format}, and not 1`);
  return read.record;
}

async function requireChecksums(files: ReadonlyMap<string, ImportFile>, manifest: MemManifest): Promise<void> {
  const bytes = await wholeOf(files.get('CHECKSUMS'), MAX_MANIFEST_BYTES);
  const lines = [...manifest.files]
    .sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
    .map(({ path, sha256 }) => `${sha256}  ${path}\n`);
  if (bytes.toString('utf8') !== lines.join('')) throw refusal('CHECKSUMS is not what the manifest says');
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (manifest.bundleDigest !== undefined && manifest.bundleDigest !== digest)
    throw refusal('the digest of the bundle is not that of CHECKSUMS');
}

/** The key of a signature token, which must be its signature over the exact bytes of the manifest. */
function signerOf(manifest: Buffer, token: Buffer): string {
  const [, key = '', signature = ''] =
    /^ed25519:([0-9a-f]{64}):([0-9a-f]{128})\n?$/.exec(token.toString('latin1')) ?? [];
  if (key === '' || !verifyBytes(publicKeyFromRaw(Buffer.from(key, 'hex')), manifest, Buffer.from(signature, 'hex')))
    throw refusal('its signature is not that of the key which it names');
  return key;
}

async function measured(file: ImportFile | undefined, path: string): Promise<{ sha256: string; bytes: number }> {
  if (file === undefined || !MemPath.safeParse(path).success) throw refusal(`${path} is missing`);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of file.open()) {
    bytes += piece.length;
    if (bytes > MAX_FILE_BYTES) throw refusal(`${path} is longer than ${MAX_FILE_BYTES} bytes`);
    hash.update(piece);
  }
  return { sha256: hash.digest('hex'), bytes };
}

async function wholeOf(file: ImportFile | undefined, maxBytes: number): Promise<Buffer> {
  if (file === undefined) throw refusal('a file of it is missing');
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of file.open()) {
    length += piece.length;
    if (length > maxBytes) throw refusal(`${file.name} is longer than ${maxBytes} bytes`);
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

function refusal(why: string): CodedError {
  return new CodedError('bundle_refused', `The .mem bundle is refused: ${why}.`);
}

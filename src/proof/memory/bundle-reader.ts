import { byteLines, LineTooLong, type ByteLine } from '../../ground/json/byte-lines.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { decodeUtf8, JsonRefused, parseStrictJson } from '../../ground/json/strict-json.ts';
import {
  BundleVector,
  decodeVector,
  HEAD_LINE,
  ITEM_KINDS,
  ManifestLine,
  MAX_LINE_BYTES,
  MAX_RECEIPT_BYTES,
  type BundleContent,
  type BundleItem,
  type ItemKind,
} from './bundle-format.ts';
import { BundleRefused, BundleTally } from './bundle-tally.ts';
import type { WrittenPart } from './bundle-writer.ts';
import { EntryRefused, lineDigest, readEntry, readTombstone } from './entry.ts';

export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** What a reader tells of a bundle: each item as it comes, and at last the manifest that covers them. */
export type BundleReading = BundleItem | { readonly kind: 'manifest'; readonly line: ManifestLine };

/**
 * Reads a bundle, one line in memory at a time. Every item was compared with its digest when it is told;
 * whether all of them are those that were written is known with the manifest, which is told last and only if
 * it covers what came before. Throws BundleRefused, with the name of the entry or the line at fault.
 */
export async function* readBundle(pieces: Pieces): AsyncGenerator<BundleReading> {
  const tally = new BundleTally();
  let isSealed = false;
  for await (const { line, number } of numbered(pieces)) {
    if (isSealed) throw new BundleRefused(`Line ${number} stands after the manifest.`);
    if (!line.ended) throw new BundleRefused(`Line ${number} has no line end: the bundle was cut off.`);
    if (number === 1) {
      requireHead(line.bytes);
    } else if (line.bytes.subarray(0, MANIFEST_BEGIN.length).equals(MANIFEST_BEGIN)) {
      const manifest = readManifest(line.bytes);
      requireContent(manifest.manifest, tally.content());
      isSealed = true;
      yield { kind: 'manifest', line: manifest };
    } else {
      const item = readItem(line.bytes, number, tally);
      tallyItem(tally, item, line.bytes);
      yield item;
    }
  }
  if (!isSealed) throw new BundleRefused('The bundle has no manifest: it was cut off, or is no memory bundle.');
}

/**
 * How far a bundle was written whose writing was cut short anywhere: all complete lines before the last
 * record, which may lack its vectors. A bundle with a manifest was not cut short. Throws BundleRefused.
 */
export async function writtenPart(pieces: Pieces): Promise<WrittenPart> {
  const tally = new BundleTally();
  let group: { item: BundleItem; line: Buffer }[] = [];
  let bytes = 0;
  for await (const { line, number } of numbered(pieces)) {
    if (!line.ended) break;
    if (number === 1) {
      requireHead(line.bytes);
      bytes = line.bytes.length + 1;
      continue;
    }
    if (line.bytes.subarray(0, MANIFEST_BEGIN.length).equals(MANIFEST_BEGIN))
      throw new BundleRefused('The bundle was written to its end.');
    const item = readItem(line.bytes, number, tally);
    if (item.kind !== 'vector') {
      for (const held of group) tallyItem(tally, held.item, held.line);
      if (group.length > 0) bytes = line.offset;
      group = [];
    }
    group.push({ item, line: Buffer.from(line.bytes) });
  }
  return { tally, bytes };
}

const MANIFEST_BEGIN = Buffer.from('{"manifest":');

async function* numbered(pieces: Pieces): AsyncGenerator<{ line: ByteLine; number: number }> {
  let number = 0;
  try {
    for await (const line of byteLines(pieces, MAX_LINE_BYTES)) {
      number += 1;
      yield { line, number };
    }
  } catch (error) {
    if (!(error instanceof LineTooLong)) throw error;
    throw new BundleRefused(`Line ${number + 1} is longer than ${MAX_LINE_BYTES} bytes${nameIn(error.begin)}.`);
  }
}

function requireHead(bytes: Buffer): void {
  if (bytes.toString('latin1', 0, 200) !== HEAD_LINE)
    throw new BundleRefused(`The first line is not ${HEAD_LINE}: this is no memory bundle of a known version.`);
}

function tallyItem(tally: BundleTally, item: BundleItem, line: Buffer): void {
  if (item.kind === 'receipt') tally.addReceipt(item.digest, line);
  else if (item.kind === 'vector') tally.addVector(item.vector, line);
  else tally.addRecord(item.kind, item.kind === 'entry' ? item.entry.id : item.tombstone.id, line);
}

const ITEM_BEGIN = new RegExp(`^\\{"digest":"([0-9a-f]{64})","(${ITEM_KINDS.join('|')})":`);
const ITEM_BEGIN_BYTES = 100;

function readItem(bytes: Buffer, number: number, tally: BundleTally): BundleItem {
  const begin = ITEM_BEGIN.exec(bytes.toString('latin1', 0, ITEM_BEGIN_BYTES));
  const where = () => {
    const last = tally.lastRecord ?? tally.lastReceipt;
    return `Line ${number}${nameIn(bytes)}${last === undefined ? '' : ` (after ${last})`}`;
  };
  const kind = ITEM_KINDS.find((one) => one === begin?.[2]);
  const [head, digest] = begin ?? [];
  if (head === undefined || digest === undefined || kind === undefined || bytes.at(-1) !== 0x7d)
    throw new BundleRefused(`${where()} is no receipt, entry, tombstone, vector or manifest of this format.`);
  const held = bytes.subarray(head.length, -1);
  if (kind !== 'receipt' && lineDigest(held) !== digest)
    throw new BundleRefused(`${where()} is not what its digest says: it was changed.`);
  try {
    return itemOf(kind, digest, held);
  } catch (error) {
    if (error instanceof EntryRefused || error instanceof JsonRefused)
      throw new BundleRefused(`${where()} is refused: ${error.message}`);
    throw error;
  }
}

function itemOf(kind: ItemKind, digest: string, held: Buffer): BundleItem {
  switch (kind) {
    case 'entry':
      return { kind, digest, entry: readEntry(held) };
    case 'tombstone':
      return { kind, digest, tombstone: readTombstone(held) };
    case 'vector':
      return { kind, digest, vector: readVector(held) };
    case 'receipt':
      return { kind, digest, text: readReceiptText(held, digest) };
  }
}

function readVector(held: Buffer): BundleVector {
  const text = decodeUtf8(held);
  const read = BundleVector.safeParse(parseStrictJson(text, { maxDepth: 2 }));
  if (!read.success || canonicalJson(read.data) !== text || decodeVector(read.data.values) === undefined)
    throw new JsonRefused('it is no vector of finite 32-bit floats.');
  return read.data;
}

function readReceiptText(held: Buffer, digest: string): string {
  const text = decodeUtf8(held);
  const value = parseStrictJson(text, { maxDepth: 1 });
  if (typeof value !== 'string' || JSON.stringify(value) !== text || Buffer.byteLength(value) > MAX_RECEIPT_BYTES)
    throw new JsonRefused('it is no text of a receipt.');
  if (lineDigest(value) !== digest) throw new JsonRefused(`the receipt ${digest} is not what its digest says.`);
  return value;
}

function readManifest(bytes: Buffer): ManifestLine {
  try {
    const text = decodeUtf8(bytes);
    const read = ManifestLine.safeParse(parseStrictJson(text, { maxDepth: 8 }));
    if (read.success && canonicalJson(read.data) === text) return read.data;
    const [issue] = read.success ? [] : read.error.issues;
    const why = issue === undefined ? 'it is not canonical' : `${issue.path.join('.')}: ${issue.message}`;
    throw new BundleRefused(`The manifest is not as the format says: ${why}.`);
  } catch (error) {
    if (error instanceof JsonRefused) throw new BundleRefused(`The manifest is refused: ${error.message}`);
    throw error;
  }
}

/** Throws BundleRefused, with the names of the records at fault, where the manifest is of other lines. */
function requireContent(manifest: BundleContent, found: BundleContent): void {
  let from = 'the first';
  for (const [at, block] of manifest.records.blocks.entries()) {
    const other = found.records.blocks[at];
    if (other?.last !== block.last || other.sha256 !== block.sha256)
      throw new BundleRefused(
        `The records from ${from} to ${block.last} are not those that the manifest covers: one was changed together with its digest, or is missing.`,
      );
    from = `after ${block.last}`;
  }
  for (const section of ['records', 'receipts', 'vectors'] as const)
    if (canonicalJson(manifest[section]) !== canonicalJson(found[section]))
      throw new BundleRefused(`The ${section} are not those that the manifest covers.`);
}

/** The id that a line shows, also where it is not as the format says. */
function nameIn(line: Buffer): string {
  const id = /"id":"([A-Za-z0-9_.:@-]{1,128})","(?:metadata|merged_into|values)":/.exec(line.toString('latin1'))?.[1];
  return id === undefined ? '' : `, the memory ${id},`;
}

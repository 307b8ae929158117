import {
  entryItemLine,
  HEAD_LINE,
  receiptItemLine,
  tombstoneItemLine,
  vectorItemLine,
  type BundleVector,
} from './bundle-format.ts';
import { sealBundle, type BundleSeal } from './bundle-manifest.ts';
import { BundleTally } from './bundle-tally.ts';
import { lineDigest, type MemoryEntry, type MemoryTombstone } from './entry.ts';

/** An entry with its vectors, in the order of their embedders, or a tombstone. */
export type BundleRecord =
  { readonly entry: MemoryEntry; readonly vectors?: readonly BundleVector[] } | { readonly tombstone: MemoryTombstone };

/** Where a bundle is written from. Both give what comes after the last thing that was written, in order. */
export interface BundleSource {
  /** Texts of receipt files in the order of their digests. */
  receipts(afterDigest: string | undefined): AsyncIterable<string> | Iterable<string>;
  /** Records in the order of their ids, compared byte by byte. */
  records(afterId: string | undefined): AsyncIterable<BundleRecord> | Iterable<BundleRecord>;
}

/** How far a bundle was written: what stands in it already, and from where to go on. */
export interface WrittenPart {
  readonly tally: BundleTally;
  /** The first so many bytes of the file stay; what follows them was torn. */
  readonly bytes: number;
}

/**
 * The lines of a bundle, each with its line end. One record is in memory at a time. With `part`, only what
 * comes after it. Throws BundleRefused where the source gives an id twice or out of order.
 */
export async function* writeBundle(source: BundleSource, seal: BundleSeal, part?: WrittenPart): AsyncGenerator<string> {
  const tally = part?.tally ?? new BundleTally();
  if (part === undefined || part.bytes === 0) yield `${HEAD_LINE}\n`;
  if (tally.lastRecord === undefined)
    for await (const text of source.receipts(tally.lastReceipt)) {
      const line = receiptItemLine(text);
      tally.addReceipt(lineDigest(text), line);
      yield `${line}\n`;
    }
  for await (const record of source.records(tally.lastRecord)) yield* recordLines(record, tally);
  yield `${sealBundle(tally.content(), seal)}\n`;
}

function* recordLines(record: BundleRecord, tally: BundleTally): Generator<string> {
  if ('tombstone' in record) {
    const line = tombstoneItemLine(record.tombstone);
    tally.addRecord('tombstone', record.tombstone.id, line);
    yield `${line}\n`;
    return;
  }
  const line = entryItemLine(record.entry);
  tally.addRecord('entry', record.entry.id, line);
  yield `${line}\n`;
  for (const vector of record.vectors ?? []) {
    const vectorLine = vectorItemLine(vector);
    tally.addVector(vector, vectorLine);
    yield `${vectorLine}\n`;
  }
}

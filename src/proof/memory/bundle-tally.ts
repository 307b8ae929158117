import { createHash, type Hash } from 'node:crypto';
import { BLOCK_RECORDS, MAX_BUNDLE_RECORDS, type BundleContent, type BundleVector } from './bundle-format.ts';

/** Why a bundle is refused: one sentence, which names the entry or the line at fault. */
export class BundleRefused extends Error {
  override readonly name = 'BundleRefused';
}

/** A line without its line end. */
type Line = Uint8Array | string;

/**
 * What the lines of a bundle add up to, for its writer and its reader alike: digests of the sections and of
 * blocks of records. It refuses lines out of order, so that no id can stand twice however many there are, and
 * holds only sums.
 */
export class BundleTally {
  readonly #receipts = new Sum();
  readonly #records = new Sum();
  readonly #vectors = new Sum();
  readonly #blocks: { last: string; sha256: string }[] = [];
  #block = new Sum();
  readonly #embedders = new Map<string, number>();
  #entries = 0;
  #lastReceipt: string | undefined;
  #lastRecord: { readonly id: string; readonly isEntry: boolean } | undefined;
  #lastEmbedder: string | undefined;

  /** The digest of the last receipt. */
  get lastReceipt(): string | undefined {
    return this.#lastReceipt;
  }

  /** The id of the last entry or tombstone. */
  get lastRecord(): string | undefined {
    return this.#lastRecord?.id;
  }

  /** What the lines add up to so far. */
  content(): BundleContent {
    const blocks = [...this.#blocks];
    if (this.#lastRecord !== undefined && this.#block.count > 0)
      blocks.push({ last: this.#lastRecord.id, sha256: this.#block.digest() });
    return {
      receipts: this.#receipts.section(),
      records: {
        entries: this.#entries,
        tombstones: this.#records.count - this.#entries,
        sha256: this.#records.digest(),
        blocks,
      },
      vectors: {
        ...this.#vectors.section(),
        embedders: [...this.#embedders]
          .map(([sha256, dimensions]) => ({ sha256, dimensions }))
          .sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1)),
      },
    };
  }

  /** Adds the line of a receipt. Throws BundleRefused where it may not stand here. */
  addReceipt(digest: string, line: Line): void {
    if (this.#lastRecord !== undefined) throw new BundleRefused(`The receipt ${digest} stands after the first record.`);
    if (this.#lastReceipt !== undefined && digest <= this.#lastReceipt)
      throw new BundleRefused(`The receipt ${digest} stands twice or out of order.`);
    this.#lastReceipt = digest;
    this.#receipts.add(line);
  }

  /** Adds the line of an entry or of a tombstone. Throws BundleRefused where it may not stand here. */
  addRecord(kind: 'entry' | 'tombstone', id: string, line: Line): void {
    if (this.#lastRecord !== undefined && id <= this.#lastRecord.id)
      throw new BundleRefused(
        id === this.#lastRecord.id ? `The memory ${id} stands twice.` : `The memory ${id} stands out of order.`,
      );
    if (this.#records.count >= MAX_BUNDLE_RECORDS)
      throw new BundleRefused(`A bundle has at most ${MAX_BUNDLE_RECORDS} records.`);
    if (this.#lastRecord !== undefined && this.#block.count === BLOCK_RECORDS) {
      this.#blocks.push({ last: this.#lastRecord.id, sha256: this.#block.digest() });
      this.#block = new Sum();
    }
    this.#lastRecord = { id, isEntry: kind === 'entry' };
    this.#lastEmbedder = undefined;
    if (kind === 'entry') this.#entries += 1;
    this.#records.add(line);
    this.#block.add(line);
  }

  /** Adds the line of a vector. Throws BundleRefused where it may not stand here. */
  addVector({ id, embedder, values }: BundleVector, line: Line): void {
    if (this.#lastRecord?.isEntry !== true || this.#lastRecord.id !== id)
      throw new BundleRefused(`A vector of the memory ${id} does not stand after its entry.`);
    if (this.#lastEmbedder !== undefined && embedder <= this.#lastEmbedder)
      throw new BundleRefused(`The vectors of the memory ${id} stand twice or out of order.`);
    const dimensions = Buffer.byteLength(values, 'base64') / 4;
    if ((this.#embedders.get(embedder) ?? dimensions) !== dimensions)
      throw new BundleRefused(`A vector of the memory ${id} is not as long as the others of its embedder.`);
    this.#embedders.set(embedder, dimensions);
    this.#lastEmbedder = embedder;
    this.#vectors.add(line);
  }
}

/** The number of lines and the digest of them with their line ends. */
class Sum {
  readonly #hash: Hash = createHash('sha256');
  count = 0;

  add(line: Line): void {
    this.#hash.update(line).update('\n');
    this.count += 1;
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  section(): { count: number; sha256: string } {
    return { count: this.count, sha256: this.digest() };
  }
}

import { sha256 } from '../../ground/blobs/sha256.ts';

/**
 * Merkle trees of RFC 6962 (hashing, section 2.1) with the proofs of RFC 9162 (verification, sections 2.1.3.2
 * and 2.1.4.2). Sizes and indexes are whole numbers below 2^53; hashes are 32 bytes.
 */
export const HASH_BYTES = 32;

/** The root of a tree without leaves. */
export const EMPTY_ROOT = sha256('');

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

/** The hash of a leaf: SHA-256 over a zero byte and the entry. */
export function leafHash(entry: Uint8Array): Buffer {
  return sha256(Buffer.concat([LEAF, entry]));
}

/** The hash of an inner node: SHA-256 over a one byte and its two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return sha256(Buffer.concat([NODE, left, right]));
}

/** The root of a whole subtree over these hashes, whose number is a power of two. Throws RangeError. */
export function foldWhole(hashes: readonly Buffer[]): Buffer {
  const [only] = hashes;
  if (only === undefined || !isPowerOfTwo(hashes.length))
    throw new RangeError(`There is no whole subtree of ${hashes.length} leaves.`);
  if (hashes.length === 1) return only;
  const middle = hashes.length / 2;
  return nodeHash(foldWhole(hashes.slice(0, middle)), foldWhole(hashes.slice(middle)));
}

/** A tree that grows leaf by leaf and keeps only the roots of its whole subtrees. */
export class CompactTree {
  readonly #peaks: { leaves: number; hash: Buffer }[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(leaf: Buffer): void {
    this.#size += 1;
    let peak = { leaves: 1, hash: leaf };
    for (let left = this.#peaks.at(-1); left?.leaves === peak.leaves; left = this.#peaks.at(-1)) {
      this.#peaks.pop();
      peak = { leaves: peak.leaves * 2, hash: nodeHash(left.hash, peak.hash) };
    }
    this.#peaks.push(peak);
  }

  root(): Buffer {
    return (
      this.#peaks
        .map(({ hash }) => hash)
        .reduceRight<Buffer | undefined>(
          (right, left) => (right === undefined ? left : nodeHash(left, right)),
          undefined,
        ) ?? EMPTY_ROOT
    );
  }
}

/** The hash of a whole subtree: `index` counts the subtrees of 2^level leaves from the left. */
export type SubtreeHash = (level: number, index: number) => Buffer;

const half = (value: number) => Math.floor(value / 2);
const isOdd = (value: number) => value % 2 === 1;
const isPowerOfTwo = (size: number) => 2 ** Math.round(Math.log2(size)) === size;
const isSize = (value: number) => Number.isSafeInteger(value) && value >= 0;

/** The largest power of two below `size`, for `size` above 1. */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/** Hashes over the right end of one tree, by their first leaf: many proofs for one tree share them. */
export type RaggedHashes = Map<number, Buffer>;

/**
 * The hash over the leaves from `from` up to `to`; a subtree of that size must be able to begin at `from`.
 */
function rangeHash(hashes: SubtreeHash, from: number, to: number, ragged: RaggedHashes): Buffer {
  const size = to - from;
  if (isPowerOfTwo(size)) return hashes(Math.round(Math.log2(size)), from / size);
  const known = ragged.get(from);
  if (known !== undefined) return known;
  const middle = from + splitOf(size);
  const hash = nodeHash(rangeHash(hashes, from, middle, ragged), rangeHash(hashes, middle, to, ragged));
  ragged.set(from, hash);
  return hash;
}

/** The root of the tree of the first `size` leaves. */
export function rootOf(hashes: SubtreeHash, size: number, ragged: RaggedHashes = new Map()): Buffer {
  return size === 0 ? EMPTY_ROOT : rangeHash(hashes, 0, size, ragged);
}

/**
 * The proof that leaf `index` is in the tree of the first `size` leaves, from the leaf up. `ragged` is of
 * this tree.
 */
export function inclusionProof(
  hashes: SubtreeHash,
  index: number,
  size: number,
  ragged: RaggedHashes = new Map(),
): Buffer[] {
  if (!isSize(index) || !isSize(size) || index >= size)
    throw new RangeError(`There is no leaf ${index} in a tree of ${size}.`);
  const path = (from: number, to: number): Buffer[] => {
    if (to - from === 1) return [];
    const middle = from + splitOf(to - from);
    return index < middle
      ? [...path(from, middle), rangeHash(hashes, middle, to, ragged)]
      : [...path(middle, to), rangeHash(hashes, from, middle, ragged)];
  };
  return path(0, size);
}

/**
 * The proof that the tree of `to` leaves begins with the tree of `from`; empty where they are equal or `from`
 * is 0.
 */
export function consistencyProof(hashes: SubtreeHash, from: number, to: number): Buffer[] {
  if (!isSize(from) || !isSize(to) || from > to) throw new RangeError(`A tree of ${from} is not within one of ${to}.`);
  const path = (left: number, right: number, isWhole: boolean): Buffer[] => {
    if (from === right) return isWhole ? [] : [rangeHash(hashes, left, right, new Map())];
    const middle = left + splitOf(right - left);
    return from <= middle
      ? [...path(left, middle, isWhole), rangeHash(hashes, middle, right, new Map())]
      : [...path(middle, right, false), rangeHash(hashes, left, middle, new Map())];
  };
  return from === 0 || from === to ? [] : path(0, to, true);
}

/**
 * The root to which an inclusion proof leads, or undefined where its length does not fit this index and size.
 */
export function rootFromInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
): Buffer | undefined {
  if (!isSize(index) || !isSize(size) || index >= size || leaf.length !== HASH_BYTES) return undefined;
  let [node, last] = [index, size - 1];
  let hash: Buffer = Buffer.from(leaf);
  for (const sibling of proof) {
    if (last === 0 || sibling.length !== HASH_BYTES) return undefined;
    if (isOdd(node) || node === last) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 ? hash : undefined;
}

/** Whether the proof shows that a leaf with this hash is at `index` in the tree with this size and root. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  tree: { size: number; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  return rootFromInclusion(leaf, index, tree.size, proof)?.equals(tree.root) === true;
}

/**
 * Whether the proof shows that the newer tree begins with the older one. Every tree begins with the empty
 * one, so that there is nothing to prove: a caller without an older tree must not ask, and the answer is
 * false.
 */
export function verifyConsistency(
  older: { size: number; root: Uint8Array },
  newer: { size: number; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (!isSize(older.size) || !isSize(newer.size) || older.size > newer.size) return false;
  if (older.size === 0) return false;
  if (older.size === newer.size) return proof.length === 0 && Buffer.from(older.root).equals(newer.root);
  if (proof.some((hash) => hash.length !== HASH_BYTES)) return false;
  const path = isPowerOfTwo(older.size) ? [older.root, ...proof] : [...proof];
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [node, last] = [older.size - 1, newer.size - 1];
  while (isOdd(node)) [node, last] = [half(node), half(last)];
  let [oldHash, newHash]: [Buffer, Buffer] = [Buffer.from(first), Buffer.from(first)];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (isOdd(node) || node === last) {
      oldHash = nodeHash(sibling, oldHash);
      newHash = nodeHash(sibling, newHash);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      newHash = nodeHash(newHash, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && oldHash.equals(older.root) && newHash.equals(newer.root);
}

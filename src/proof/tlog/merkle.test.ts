import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  CompactTree,
  EMPTY_ROOT,
  consistencyProof,
  foldWhole,
  inclusionProof,
  leafHash,
  nodeHash,
  rootFromInclusion,
  rootOf,
  verifyConsistency,
  verifyInclusion,
  type SubtreeHash,
} from './merkle.ts';

/** The leaves of a tree of `size` entries, and the hashes of its whole subtrees. */
function treeOf(size: number): { leaves: Buffer[]; hashes: SubtreeHash } {
  const leaves = Array.from({ length: size }, (_, index) => leafHash(Buffer.from(`entry ${index}`)));
  const known = new Map(leaves.map((leaf, index) => [`0/${index}`, leaf]));
  const hashes: SubtreeHash = (level, index) => {
    const name = `${level}/${index}`;
    const hash = known.get(name) ?? nodeHash(hashes(level - 1, index * 2), hashes(level - 1, index * 2 + 1));
    known.set(name, hash);
    return hash;
  };
  return { leaves, hashes };
}

/** MTH of RFC 6962, section 2.1, written as it stands there. */
function rootByDefinition(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return EMPTY_ROOT;
  if (leaves.length === 1) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(rootByDefinition(leaves.slice(0, split)), rootByDefinition(leaves.slice(split)));
}

const aSize = fc.integer({ min: 1, max: 40 });

describe('a Merkle tree', () => {
  test('has the root that RFC 6962 defines, also when it grows leaf by leaf', () => {
    const grown = new CompactTree();
    for (let size = 0; size <= 70; size += 1) {
      const { leaves, hashes } = treeOf(size);
      const root = rootByDefinition(leaves);
      expect(rootOf(hashes, size)).toEqual(root);
      expect([grown.size, grown.root()]).toEqual([size, root]);
      grown.push(leafHash(Buffer.from(`entry ${size}`)));
    }
  });

  test('has no leaf that passes for an inner node', () => {
    const [a, b] = [leafHash(Buffer.from('a')), leafHash(Buffer.from('b'))];
    expect(leafHash(Buffer.concat([a, b]))).not.toEqual(nodeHash(a, b));
  });

  test('every proof that is made verifies, and no other index, size, root or hash does', () => {
    fc.assert(
      fc.property(aSize, fc.nat(), fc.nat(), fc.nat(), (size, a, b, flip) => {
        const { leaves, hashes } = treeOf(size);
        const [index, older] = [a % size, b % (size + 1)];
        const newer = { size, root: rootOf(hashes, size) };
        const leaf = leaves[index] ?? Buffer.alloc(0);
        const inclusion = inclusionProof(hashes, index, size);
        const verifying = leaves
          .map((_, other) => other)
          .filter((other) => verifyInclusion(leaf, other, newer, inclusion));
        expect(verifying).toEqual([index]);
        const before = { size: older, root: rootOf(hashes, older) };
        const consistency = consistencyProof(hashes, older, size);
        expect(verifyConsistency(before, newer, consistency)).toBe(older > 0);
        const wrong = Buffer.from(before.root);
        wrong[flip % 32] = (wrong[flip % 32] ?? 0) ^ 1;
        expect(verifyConsistency({ size: older, root: wrong }, newer, consistency)).toBe(false);
        if (consistency.length > 0)
          expect(verifyConsistency(before, newer, consistency.with(0, leafHash(Buffer.from('x'))))).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  test('a proof with a hash too many, too few or of another length leads to no root', () => {
    fc.assert(
      fc.property(aSize, fc.nat(), (size, a) => {
        const { leaves, hashes } = treeOf(size);
        const index = a % size;
        const leaf = leaves[index] ?? Buffer.alloc(0);
        const proof = inclusionProof(hashes, index, size);
        expect(rootFromInclusion(leaf, index, size, [...proof, leaf])).toBeUndefined();
        if (proof.length === 0) return;
        expect(rootFromInclusion(leaf, index, size, proof.slice(1))).toBeUndefined();
        expect(rootFromInclusion(leaf, index, size, [leaf.subarray(1), ...proof.slice(1)])).toBeUndefined();
      }),
    );
  });

  test.each([0, 3, 5, 255])('has no whole subtree of %d leaves', (leaves) => {
    expect(() => foldWhole(treeOf(leaves).leaves)).toThrow(RangeError);
  });

  test.each([
    [-1, 5],
    [5, 5],
    [0.5, 5],
    [0, 2 ** 53],
  ])('has no proof for leaf %d of %d', (index, size) => {
    expect(() => inclusionProof(treeOf(5).hashes, index, size)).toThrow(RangeError);
    expect(rootFromInclusion(EMPTY_ROOT, index, size, [])).toBeUndefined();
  });
});

import { createHash } from 'node:crypto';
import {
  HASH_BYTES,
  inclusionProof,
  nodeHash,
  rootOf,
  type RaggedHashes,
  type SubtreeHash,
} from '../../proof/tlog/merkle.ts';
import { linesOf } from './batch-line.ts';
import type { BatchFiles } from './batch-files.store.ts';
import { StoredLine, type PartRecord } from './batch-part.ts';
import type { BatchRecord } from './batch.store.ts';

/**
 * Writes the output file and the error file of a batch from its parts, in the order of the input, and returns
 * the fields of the batch's record. The verdicts of all its jobs are the leaves of a Merkle tree (RFC 6962)
 * in the order of the output. Each line has the inclusion proofs of its leaves, and the batch has the root.
 * Writing twice writes the same.
 */
export async function writeResults(
  files: BatchFiles,
  batch: BatchRecord,
  parts: readonly PartRecord[],
): Promise<Record<string, string | number>> {
  const tree = await treeOf(files, parts);
  const sum = (count: (part: PartRecord) => number) => parts.reduce((total, part) => total + count(part), 0);
  const [completed, failed] = [sum((part) => part.completed), sum((part) => part.failed)];
  const fileId = (kind: string) =>
    `file-${createHash('sha256').update(`${batch.id} ${kind}`).digest('hex').slice(0, 24)}`;
  const output =
    completed === 0
      ? undefined
      : await files.keepResults(batch, fileId('output'), `${batch.id}_output.jsonl`, outputLines(files, parts, tree));
  const errors =
    failed === 0
      ? undefined
      : await files.keepResults(batch, fileId('error'), `${batch.id}_error.jsonl`, errorLines(files, parts));
  return {
    completed,
    failed,
    promptTokens: sum(({ usage }) => usage[0]),
    completionTokens: sum(({ usage }) => usage[1]),
    receipts: tree.size,
    ...(tree.size === 0 ? {} : { receiptsRoot: rootOf(tree.hash, tree.size, tree.ragged).toString('base64') }),
    ...(output === undefined ? {} : { outputFile: output.id }),
    ...(errors === undefined ? {} : { errorFile: errors.id }),
  };
}

interface Tree {
  readonly size: number;
  readonly hash: SubtreeHash;
  readonly ragged: RaggedHashes;
}

/** The tree with all its hashes in memory: about 64 bytes for each receipt. */
async function treeOf(files: BatchFiles, parts: readonly PartRecord[]): Promise<Tree> {
  const leaves: Buffer[] = [];
  for await (const [isError, hashes] of storedLines(files, parts))
    if (!isError) for (const hash of hashes) leaves.push(Buffer.from(hash, 'hex'));
  const levels = [Buffer.concat(leaves)];
  for (let below = levels[0]; below !== undefined && below.length >= 2 * HASH_BYTES;) {
    const above = Buffer.alloc(Math.floor(below.length / (2 * HASH_BYTES)) * HASH_BYTES);
    for (let at = 0; at < above.length; at += HASH_BYTES)
      nodeHash(
        below.subarray(2 * at, 2 * at + HASH_BYTES),
        below.subarray(2 * at + HASH_BYTES, 2 * at + 2 * HASH_BYTES),
      ).copy(above, at);
    levels.push(above);
    below = above;
  }
  return {
    size: leaves.length,
    ragged: new Map(),
    hash: (level, index) => {
      const found = levels[level]?.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
      if (found?.length !== HASH_BYTES) throw new RangeError(`The tree has no node ${index} on level ${level}.`);
      return found;
    },
  };
}

async function* outputLines(files: BatchFiles, parts: readonly PartRecord[], tree: Tree): AsyncGenerator<string> {
  let leaf = 0;
  for await (const [isError, hashes, line] of storedLines(files, parts)) {
    if (isError) continue;
    const receipts = hashes.map(() => {
      const proof = inclusionProof(tree.hash, leaf, tree.size, tree.ragged).map((hash) => hash.toString('base64'));
      leaf += 1;
      return { leaf: leaf - 1, of: tree.size, proof };
    });
    yield `${JSON.stringify({ ...line, countersign: { receipts } })}\n`;
  }
}

async function* errorLines(files: BatchFiles, parts: readonly PartRecord[]): AsyncGenerator<string> {
  for await (const [isError, , line] of storedLines(files, parts)) if (isError) yield `${JSON.stringify(line)}\n`;
}

async function* storedLines(files: BatchFiles, parts: readonly PartRecord[]) {
  for (const { sha256 } of parts)
    for await (const bytes of linesOf(files.blobs.read(sha256), Infinity))
      yield StoredLine.parse(JSON.parse(String(bytes)));
}

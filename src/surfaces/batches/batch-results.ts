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
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { BatchFiles, FileRecord } from './batch-files.store.ts';
import { PART_LINES, StoredLine, type PartRecord } from './batch-part.ts';
import type { BatchRecord, LineError } from './batch.store.ts';

/** The results of a batch: fields of its record, its files, and what cannot be read any more. */
export interface Results {
  readonly fields: Record<string, string | number>;
  readonly files: readonly FileRecord[];
  readonly lost: readonly LineError[];
}

/**
 * Stores the output file and the error file of a batch from its parts, in the order of the input. The
 * verdicts of all its jobs are the leaves of a Merkle tree (RFC 6962) in the order of the output. Each line
 * has the inclusion proofs of its leaves, and the batch has the root. A part that can no longer be read is
 * left out and named; the lines of the others are read one at a time. Storing twice stores the same.
 */
export async function storeResults(
  files: BatchFiles,
  batch: BatchRecord,
  written: ReadonlyMap<number, PartRecord>,
): Promise<Results> {
  const indexes = [...written.keys()].toSorted((a, b) => a - b);
  const { tree, unreadable } = await treeOf(files, written, indexes);
  const parts = indexes.flatMap((index) => (unreadable.has(index) ? [] : (written.get(index) ?? [])));
  const sum = (count: (part: PartRecord) => number) => parts.reduce((total, part) => total + count(part), 0);
  const [completed, failed] = [sum((part) => part.completed), sum((part) => part.failed)];
  const store = (kind: string, lines: AsyncGenerator<string>) =>
    files.storeResults(
      {
        id: `file-${createHash('sha256').update(`${batch.id} ${kind}`).digest('hex').slice(0, 24)}`,
        tenant: batch.tenant,
        keyId: batch.keyId,
        filename: `${batch.id}_${kind}.jsonl`,
      },
      lines,
      batch.outputSeconds,
    );
  const output = completed === 0 ? undefined : await store('output', outputLines(files, parts, tree));
  const errors = failed === 0 ? undefined : await store('error', errorLines(files, parts));
  return {
    fields: {
      completed,
      failed,
      promptTokens: sum(({ usage }) => usage[0]),
      completionTokens: sum(({ usage }) => usage[1]),
      receipts: tree.size,
      ...(tree.size === 0 ? {} : { receiptsRoot: rootOf(tree.hash, tree.size, tree.ragged).toString('base64') }),
      ...(output === undefined ? {} : { outputFile: output.id }),
      ...(errors === undefined ? {} : { errorFile: errors.id }),
    },
    files: [output, errors].filter((file) => file !== undefined),
    lost: [...unreadable].map((index) => ({
      code: 'results_lost',
      message: `The stored results of lines ${index * PART_LINES + 1} to ${(index + 1) * PART_LINES} can no longer be read.`,
      line: index * PART_LINES + 1,
      param: null,
    })),
  };
}

interface Tree {
  readonly size: number;
  readonly hash: SubtreeHash;
  readonly ragged: RaggedHashes;
}

/** The tree with all its hashes in memory: about 64 bytes for each receipt. Also the parts that are gone. */
async function treeOf(
  files: BatchFiles,
  written: ReadonlyMap<number, PartRecord>,
  indexes: readonly number[],
): Promise<{ tree: Tree; unreadable: ReadonlySet<number> }> {
  const leaves: Buffer[] = [];
  const unreadable = new Set<number>();
  for (const index of indexes) {
    const part = written.get(index);
    const before = leaves.length;
    try {
      for await (const [isError, hashes] of storedLines(files, part === undefined ? [] : [part]))
        if (!isError) for (const hash of hashes) leaves.push(Buffer.from(hash, 'hex'));
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'blob_missing') throw error;
      leaves.length = before;
      unreadable.add(index);
    }
  }
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
  const tree: Tree = {
    size: leaves.length,
    ragged: new Map(),
    hash: (level, index) => {
      const found = levels[level]?.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
      if (found?.length !== HASH_BYTES) throw new RangeError(`The tree has no node ${index} on level ${level}.`);
      return found;
    },
  };
  return { tree, unreadable };
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
      if (bytes !== undefined) yield StoredLine.parse(JSON.parse(bytes.toString('utf8')));
}

import { z } from 'zod';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { leafHash } from '../../proof/tlog/merkle.ts';
import type { LineResult } from './line-result.ts';

/** Lines of the input in one part. After a crash, at most the parts that ran are run again. */
export const PART_LINES = 250;

const PartRecord = z.object({
  sha256: z.string(),
  completed: z.number(),
  failed: z.number(),
  usage: z.tuple([z.number(), z.number()]),
});
/** A written part: the digest of its blob, and its counts and tokens. */
export type PartRecord = z.infer<typeof PartRecord>;

/**
 * A line of a part as it is stored: whether it is an error, the hashes of its leaves in hex, and the line
 * itself.
 */
export const StoredLine = z.tuple([z.boolean(), z.array(z.string()), z.looseObject({})]);

/** Stores the lines of a part, and returns its record. Storing the same lines twice makes one blob. */
export async function writePart(blobs: BlobStore, results: readonly LineResult[]): Promise<PartRecord> {
  const text = results
    .map(({ isError, leaves, line }) =>
      JSON.stringify([isError, leaves.map((leaf) => leafHash(leaf).toString('hex')), line]),
    )
    .join('\n');
  const failed = results.filter(({ isError }) => isError).length;
  return {
    sha256: await blobs.put(Buffer.from(text)),
    completed: results.length - failed,
    failed,
    usage: [
      results.reduce((sum, { usage }) => sum + usage[0], 0),
      results.reduce((sum, { usage }) => sum + usage[1], 0),
    ],
  };
}

/** Parses a stored record. Throws if it is damaged. */
export function readPart(text: string): PartRecord {
  return PartRecord.parse(JSON.parse(text));
}

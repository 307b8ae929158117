import { z } from 'zod';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { leafHash } from '../../proof/tlog/merkle.ts';

/** Lines of the input in one part: what a crash makes somebody look at again. */
export const PART_LINES = 250;

/** What became of a line. */
export interface LineResult {
  readonly isError: boolean;
  /** Payloads of the verdicts of its jobs. */
  readonly leaves: readonly Buffer[];
  /** Tokens read and written. */
  readonly usage: readonly [number, number];
  readonly line: object;
}

const PartRecord = z.object({
  sha256: z.string(),
  completed: z.number(),
  failed: z.number(),
  usage: z.tuple([z.number(), z.number()]),
});
export type PartRecord = z.infer<typeof PartRecord>;

/** A line of a part as it is stored: whether it is an error, the hashes of its leaves, the line itself. */
export const StoredLine = z.tuple([z.boolean(), z.array(z.string()), z.looseObject({})]);

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

export function readPart(text: string): PartRecord {
  return PartRecord.parse(JSON.parse(text));
}

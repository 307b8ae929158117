import { z } from 'zod';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { leafHash } from '../../proof/tlog/merkle.ts';
import { lostLine, type LineResult } from './line-result.ts';

/** Lines of the input in one part, which are written together once each of them has its answer. */
export const PART_LINES = 250;
/** A longer line is a blob until its part is written. */
const INLINE_LINE_BYTES = 2_048;

/** The part of a line; lines count from 1, parts from 0. */
export const partOf = (number: number) => Math.floor((number - 1) / PART_LINES);

/**
 * A line of a part as it is stored: whether it is an error, the hashes of its leaves in hex, and the line
 * itself.
 */
export const StoredLine = z.tuple([z.boolean(), z.array(z.string()), z.looseObject({})]);

/** The line as text, and whether it is in the record itself or a blob. */
const LineRecord = z.object({
  isError: z.boolean(),
  usage: z.tuple([z.number(), z.number()]),
  text: z.string().optional(),
  sha256: z.string().optional(),
  /** Of a line that is a blob: whose answer is lost where the blob is gone. */
  customId: z.string().optional(),
});
/** What is known of one line whose part is not written yet. */
export type LineRecord = z.infer<typeof LineRecord>;

const PartRecord = z.object({
  sha256: z.string(),
  completed: z.number(),
  failed: z.number(),
  usage: z.tuple([z.number(), z.number()]),
});
/** A written part: the digest of its blob, and its counts and tokens. */
export type PartRecord = z.infer<typeof PartRecord>;

/** The line as it stands in its part. */
function lineText({ isError, leaves, line }: LineResult): string {
  return JSON.stringify([isError, leaves.map((leaf) => leafHash(leaf).toString('hex')), line]);
}

/**
 * Stores a line: a long one as a blob, which is durable when this resolves. Twice the same makes the same.
 */
export async function storeLine(blobs: BlobStore, result: LineResult, customId: string): Promise<LineRecord> {
  const text = lineText(result);
  const [input, output] = result.usage;
  const head = { isError: result.isError, usage: [input, output] satisfies [number, number] };
  if (Buffer.byteLength(text) <= INLINE_LINE_BYTES) return { ...head, text };
  return { ...head, customId, sha256: await blobs.put(Buffer.from(text)) };
}

/**
 * Writes a part from its lines in their order, one of them in memory at a time, and returns its record. A
 * line whose blob is gone becomes an error that says so. Throws what storing blobs throws.
 */
export async function writePart(blobs: BlobStore, lines: Iterable<LineRecord>): Promise<PartRecord> {
  const part: Omit<PartRecord, 'sha256'> = { completed: 0, failed: 0, usage: [0, 0] };
  const text = async function* (): AsyncGenerator<Uint8Array | string> {
    for (const record of lines) {
      const stored = await textOf(blobs, record);
      part[record.isError || stored === undefined ? 'failed' : 'completed'] += 1;
      part.usage = [part.usage[0] + record.usage[0], part.usage[1] + record.usage[1]];
      yield stored ?? lineText(lostLine(record.customId ?? ''));
      yield '\n';
    }
  };
  const { sha256 } = await blobs.putStream(text(), Number.MAX_SAFE_INTEGER);
  return { sha256, ...part };
}

/** The line as it stands in its part; undefined if its blob is gone. */
async function textOf(blobs: BlobStore, { text, sha256 }: LineRecord): Promise<Uint8Array | string | undefined> {
  if (text !== undefined) return text;
  try {
    return await blobs.get(sha256 ?? '', Number.MAX_SAFE_INTEGER);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'blob_missing') return undefined;
    throw error;
  }
}

/** Parses a stored record. Throws if it is damaged. */
export function readPart(text: string): PartRecord {
  return PartRecord.parse(JSON.parse(text));
}

/** Parses a stored record. Throws if it is damaged. */
export function readLineRecord(text: string): LineRecord {
  return LineRecord.parse(JSON.parse(text));
}

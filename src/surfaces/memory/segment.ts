import { z } from 'zod';
import { MemoryEntry } from '../../proof/memory/entry.ts';
import { Sha256 } from '../../proof/receipts/fields.ts';

/** A memory and its vector, in this process's memory. */
export interface Held {
  readonly entry: MemoryEntry;
  readonly vector: Vector | undefined;
}

/** A vector of length 1, and the digest of the embedder that made it: others are not compared with it. */
export interface Vector {
  readonly embedder: string;
  readonly values: Float32Array;
}

const HEAD_BYTES = 4;

const Head = z.strictObject({
  version: z.literal(1),
  entries: z.array(
    z.strictObject({
      entry: MemoryEntry,
      vector: z.strictObject({ embedder: Sha256, dimensions: z.int().min(1).max(8_192) }).nullable(),
    }),
  ),
});

/**
 * The bytes of a segment, before they are sealed: length and text of its head, then the vectors as float32.
 */
export function encodeSegment(held: readonly Held[]): Buffer {
  const head: z.infer<typeof Head> = {
    version: 1,
    entries: held.map(({ entry, vector }) => ({
      entry,
      vector: vector === undefined ? null : { embedder: vector.embedder, dimensions: vector.values.length },
    })),
  };
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(HEAD_BYTES);
  length.writeUInt32LE(text.length);
  const vectors = held.flatMap(({ vector }) => (vector === undefined ? [] : [littleEndian(vector.values)]));
  return Buffer.concat([length, text, ...vectors]);
}

/** What was encoded. Throws where the bytes are no segment; they were sealed, so that is a fault of ours. */
export function decodeSegment(bytes: Buffer): Held[] {
  const end = HEAD_BYTES + bytes.readUInt32LE();
  const head = Head.parse(JSON.parse(bytes.toString('utf8', HEAD_BYTES, end)));
  let at = end;
  return head.entries.map(({ entry, vector }) => {
    if (vector === null) return { entry, vector: undefined };
    const values = new Float32Array(vector.dimensions);
    for (let index = 0; index < values.length; index += 1) values[index] = bytes.readFloatLE(at + 4 * index);
    at += 4 * values.length;
    return { entry, vector: { embedder: vector.embedder, values } };
  });
}

function littleEndian(values: Float32Array): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => bytes.writeFloatLE(value, 4 * at));
  return bytes;
}

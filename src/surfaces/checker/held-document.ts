import { sha256Hex } from '../../ground/blobs/sha256.ts';

/** A document that a receipt names by its digest, as its holder has it. */
export interface HeldDocument {
  /** The bytes to compare; those that were held, where no reading of them has the digest. */
  readonly bytes: Buffer;
  /** How they differ from what is held, though they say the same; undefined where they are the same. */
  readonly note: string | undefined;
}

/**
 * The reading of held bytes that has this digest. Shells and editors add a line feed, and programs write JSON
 * in their own way: neither makes a true answer a forgery, and the note says which it was.
 */
export function heldDocument(held: Buffer, sha256: string): HeldDocument {
  const text = held.toString('utf8');
  const readings: [string | undefined, () => string][] = [
    [undefined, () => text],
    ['but for line feeds at its end, which a shell or an editor has added', () => text.replace(/(?:\r?\n)+$/, '')],
    ['as JSON: white space or escapes differ, and nothing that they say', () => JSON.stringify(JSON.parse(text))],
  ];
  for (const [note, reading] of readings) {
    const bytes = note === undefined ? held : bytesOf(reading);
    if (bytes !== undefined && sha256Hex(bytes) === sha256) return { bytes, note };
  }
  return { bytes: held, note: undefined };
}

function bytesOf(reading: () => string): Buffer | undefined {
  try {
    return Buffer.from(reading());
  } catch {
    return undefined;
  }
}

const LINE_FEED = 0x0a;

/** A line of a stream, without its line feed. */
export interface ByteLine {
  readonly bytes: Buffer;
  /** How many bytes of the stream stand before it. */
  readonly offset: number;
  /** Whether a line feed ended it; only the last line may lack one. */
  readonly ended: boolean;
}

/** A line was longer than its reader takes. */
export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';
  /** The first bytes of the line. */
  readonly begin: Buffer;

  constructor(begin: Buffer, maxBytes: number) {
    super(`The line is longer than ${maxBytes} bytes.`);
    this.begin = begin;
  }
}

/**
 * The lines of a stream of bytes, one in memory at a time. Throws LineTooLong as soon as a line has more than
 * `maxBytes`; what follows it is not read.
 */
export async function* byteLines(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<ByteLine> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let offset = 0;
  const take = (piece: Buffer) => {
    held.push(piece);
    heldBytes += piece.length;
    if (heldBytes > maxBytes) throw new LineTooLong(Buffer.concat(held).subarray(0, maxBytes), maxBytes);
  };
  for await (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    let begin = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, begin)) {
      take(bytes.subarray(begin, end));
      yield { bytes: held.length === 1 ? bytes.subarray(begin, end) : Buffer.concat(held), offset, ended: true };
      offset += heldBytes + 1;
      [held, heldBytes, begin] = [[], 0, end + 1];
    }
    // A copy, since whoever gave the piece may write over it.
    if (begin < bytes.length) take(Buffer.from(bytes.subarray(begin)));
  }
  if (heldBytes > 0) yield { bytes: Buffer.concat(held), offset, ended: false };
}

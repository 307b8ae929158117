import type { Duplex } from 'node:stream';

const HEAD_BYTES = 4;

/**
 * Messages between two processes over a stream: JSON, each behind its length. Unlike Node's own channel it
 * takes no message that is longer than `maxBytes`: before one is read, its length says so, and the channel
 * ends.
 */
export class FrameChannel {
  readonly #stream: Duplex;
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #length = 0;

  /**
   * `onMessage` gets what the other side sent, parsed as JSON and no further. `onEnd` is called once, when
   * the other side has gone or has sent what is no message.
   */
  constructor(stream: Duplex, maxBytes: number, onMessage: (message: unknown) => void, onEnd: () => void) {
    this.#stream = stream;
    this.#maxBytes = maxBytes;
    stream.on('data', (piece: Buffer) => {
      try {
        this.#take(piece, onMessage);
      } catch {
        stream.destroy();
      }
    });
    // A stream that breaks off also closes.
    stream.on('error', () => undefined);
    stream.once('end', () => stream.destroy());
    stream.once('close', onEnd);
  }

  /** Sends a message. Returns whether it is short enough; what is too long is not sent. */
  send(message: unknown): boolean {
    const body = Buffer.from(JSON.stringify(message));
    if (body.length > this.#maxBytes) return false;
    if (this.#stream.destroyed) return true;
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(body.length);
    this.#stream.write(Buffer.concat([head, body]));
    return true;
  }

  close(): void {
    this.#stream.destroy();
  }

  #take(piece: Buffer, onMessage: (message: unknown) => void): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
    for (;;) {
      if (this.#length < HEAD_BYTES) return;
      const first = this.#join(HEAD_BYTES);
      const bytes = first.readUInt32BE();
      if (bytes > this.#maxBytes) throw new Error('The message is too long.');
      if (this.#length < HEAD_BYTES + bytes) return;
      const all = this.#join(this.#length);
      const rest = all.subarray(HEAD_BYTES + bytes);
      this.#pieces = [rest];
      this.#length = rest.length;
      onMessage(JSON.parse(all.toString('utf8', HEAD_BYTES, HEAD_BYTES + bytes)));
    }
  }

  /** The first piece, made at least so long; pieces of a long message are joined once, at its end. */
  #join(bytes: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#pieces;
    if (first.length >= bytes) return first;
    const joined = Buffer.concat(this.#pieces);
    this.#pieces = [joined];
    return joined;
  }
}

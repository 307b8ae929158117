import { Duplex, PassThrough } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FrameChannel } from './frame-channel.ts';

/** What arrives of these bytes, handed on in pieces of this length, and whether the channel ended. */
async function arrived(bytes: Buffer, pieceBytes: number, maxBytes: number) {
  const stream = new PassThrough();
  const messages: unknown[] = [];
  let isEnded = false;
  const closed = new Promise<void>((resolve) => {
    new FrameChannel(
      stream,
      maxBytes,
      (message) => messages.push(message),
      () => {
        isEnded = true;
        resolve();
      },
    );
  });
  for (let at = 0; at < bytes.length && !stream.destroyed; at += pieceBytes)
    stream.write(bytes.subarray(at, at + pieceBytes));
  await Promise.race([closed, new Promise((resolve) => setImmediate(resolve))]);
  return { messages, isEnded };
}

function sent(...messages: unknown[]): Buffer {
  const pieces: Buffer[] = [];
  const stream = new Duplex({
    read: () => undefined,
    write: (piece: Buffer, _, done) => {
      pieces.push(piece);
      done();
    },
  });
  const channel = new FrameChannel(
    stream,
    1_000_000,
    () => undefined,
    () => undefined,
  );
  for (const message of messages) expect(channel.send(message)).toBe(true);
  return Buffer.concat(pieces);
}

describe('a channel of messages', () => {
  test('messages arrive whole and in order, however the stream cuts them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.jsonValue(), { maxLength: 5 }),
        fc.integer({ min: 1, max: 40 }),
        async (messages, pieceBytes) => {
          const plain = JSON.parse(JSON.stringify(messages)) as unknown[];
          expect(await arrived(sent(...plain), pieceBytes, 1_000_000)).toEqual({ messages: plain, isEnded: false });
        },
      ),
      { numRuns: 50 },
    );
  });

  test('a message that is longer than it may be ends the channel before it is read', async () => {
    const bytes = sent('short', 'x'.repeat(1_000));
    expect(await arrived(bytes.subarray(0, 20), 5, 100)).toEqual({ messages: ['short'], isEnded: true });
    const channel = new FrameChannel(
      new PassThrough(),
      10,
      () => undefined,
      () => undefined,
    );
    expect(channel.send('x'.repeat(11))).toBe(false);
  });

  test('what is no JSON ends the channel', async () => {
    expect(await arrived(Buffer.from([0, 0, 0, 1, 0x7b]), 5, 100)).toEqual({ messages: [], isEnded: true });
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from './checkpoint.ts';
import { LogRefused, formatNote, noteKey, signNote } from './signed-note.ts';

const ORIGIN = 'example.com/log';
const key = new SigningKey(Buffer.alloc(32, 1));
const other = new SigningKey(Buffer.alloc(32, 2));
const root = Buffer.alloc(32, 9);
const text = formatCheckpoint({ origin: ORIGIN, size: 7, root });
const note = (signer: SigningKey) => formatNote({ text, signatures: [signNote(text, ORIGIN, signer)] });

describe('a checkpoint', () => {
  test('says the same when it is read again, up to the largest size', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.uint8Array({ minLength: 32, maxLength: 32 }), (size, bytes) => {
        const checkpoint = { origin: ORIGIN, size, root: Buffer.from(bytes) };
        expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint);
      }),
    );
  });

  test.each([
    ['no origin', `\n7\n${root.toString('base64')}\n`],
    ['a size with a zero before it', `${ORIGIN}\n07\n${root.toString('base64')}\n`],
    ['a negative size', `${ORIGIN}\n-7\n${root.toString('base64')}\n`],
    ['a size beyond 2^53', `${ORIGIN}\n9007199254740993\n${root.toString('base64')}\n`],
    ['a short root', `${ORIGIN}\n7\n${root.subarray(1).toString('base64')}\n`],
    ['base64 without its end', `${ORIGIN}\n7\n${root.toString('base64url')}\n`],
  ])('with %s is refused', (_, malformed) => {
    expect(() => parseCheckpoint(malformed)).toThrow(LogRefused);
  });

  test('of a log whose key was rotated opens under either key, and under no key of another log', () => {
    const [mine, next] = [key, other].map((one) => noteKey(ORIGIN, 'ed25519', one.public));
    if (mine === undefined || next === undefined) throw new Error('There is no key.');
    for (const signer of [key, other]) expect(openCheckpoint(note(signer), mine, next).checkpoint.size).toBe(7);
    const elsewhere = noteKey('example.com/b', 'ed25519', other.public);
    expect(() => openCheckpoint(note(other), mine, elsewhere)).toThrow('does not verify');
  });

  test('opens under the key of its log only', () => {
    expect(openCheckpoint(note(key), noteKey(ORIGIN, 'ed25519', key.public)).checkpoint).toEqual({
      origin: ORIGIN,
      size: 7,
      root,
    });
    expect(() => openCheckpoint(note(other), noteKey(ORIGIN, 'ed25519', key.public))).toThrow('does not verify');
    expect(() => openCheckpoint(note(key), noteKey('example.com/b', 'ed25519', key.public))).toThrow('is of the log');
  });
});

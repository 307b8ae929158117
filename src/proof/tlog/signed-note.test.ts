import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import {
  LogRefused,
  cosignNote,
  formatNote,
  formatVkey,
  noteKey,
  parseNote,
  parseVkey,
  signNote,
  strictBase64,
  verifyNote,
} from './signed-note.ts';

const NAME = 'example.com/log';
const TEXT = 'first line\nsecond line\n';
const key = new SigningKey(Buffer.alloc(32, 1));
const other = new SigningKey(Buffer.alloc(32, 2));
const log = noteKey(NAME, 'ed25519', key.public);
const witness = noteKey(NAME, 'cosignature/v1', key.public);

describe('a signed note', () => {
  test('verifies under the key that signed it, and after no change of its text', () => {
    const note = formatNote({ text: TEXT, signatures: [signNote(TEXT, NAME, key)] });
    expect(verifyNote(parseNote(note), log)).toEqual({ atSeconds: undefined });
    expect(verifyNote(parseNote(note), noteKey(NAME, 'ed25519', other.public))).toBeUndefined();
    fc.assert(
      fc.property(fc.nat({ max: TEXT.length - 2 }), fc.constantFrom('x', 'é', ' '), (at, letter) => {
        fc.pre(TEXT[at] !== letter);
        expect(verifyNote(parseNote(note.slice(0, at) + letter + note.slice(at + 1)), log)).toBeUndefined();
      }),
    );
  });

  test('gives back its text and signatures, also where the text has empty lines', () => {
    const text = 'a\n\nb\n';
    const signed = { text, signatures: [signNote(text, NAME, key), cosignNote(text, 'w', other, 5)] };
    expect(parseNote(formatNote(signed))).toEqual(signed);
  });

  test('with two signatures by one key is signed by it, and not where one of them fails', () => {
    const signature = signNote(TEXT, NAME, key);
    expect(verifyNote({ text: TEXT, signatures: [signature, signature] }, log)).toEqual({ atSeconds: undefined });
    const failing = signNote('another text\n', NAME, key);
    for (const signatures of [[failing], [signature, failing], [failing, signature]])
      expect(verifyNote({ text: TEXT, signatures }, log)).toBeUndefined();
    const cosignatures = [7, 5, 6].map((atSeconds) => cosignNote(TEXT, NAME, key, atSeconds));
    expect(verifyNote({ text: TEXT, signatures: cosignatures }, witness)).toEqual({ atSeconds: 5 });
  });

  test.each([
    ['no signature', TEXT],
    ['no line feed at its end', formatNote({ text: TEXT, signatures: [signNote(TEXT, NAME, key)] }).trimEnd()],
    ['a tab', formatNote({ text: 'a\tb\n', signatures: [signNote('a\tb\n', NAME, key)] })],
    ['a hyphen for the dash', `${TEXT}\n- ${NAME} ${Buffer.alloc(68).toString('base64')}\n`],
    ['a signature of four bytes', `${TEXT}\n— ${NAME} ${Buffer.alloc(4).toString('base64')}\n`],
    [
      '101 signatures',
      formatNote({ text: TEXT, signatures: Array.from({ length: 101 }, () => signNote(TEXT, NAME, key)) }),
    ],
  ])('with %s is refused', (_, note) => {
    expect(() => parseNote(note)).toThrow(LogRefused);
  });
});

describe('a cosignature', () => {
  test('has the time at which it was made, and no other time verifies', () => {
    const cosignature = cosignNote(TEXT, NAME, key, 1_790_000_000);
    expect(verifyNote({ text: TEXT, signatures: [cosignature] }, witness)).toEqual({ atSeconds: 1_790_000_000 });
    const later = Buffer.from(cosignature.bytes);
    later.writeBigUInt64BE(1_790_000_001n);
    expect(verifyNote({ text: TEXT, signatures: [{ ...cosignature, bytes: later }] }, witness)).toBeUndefined();
  });

  test('is no signature of a log by the same key', () => {
    expect(verifyNote({ text: TEXT, signatures: [cosignNote(TEXT, NAME, key, 1)] }, log)).toBeUndefined();
  });
});

describe('a verifier key', () => {
  test('is the same key when it is read again', () => {
    expect(parseVkey(formatVkey(log))).toEqual(log);
    expect(parseVkey(formatVkey(witness))).toEqual(witness);
  });

  test.each([
    ['the id of another key', formatVkey(log).replace(/\+[0-9a-f]{8}\+/, '+00000000+')],
    ['another name', formatVkey(log).replace(NAME, 'example.com/b')],
    ['an unknown kind of key', `n+00000000+${Buffer.alloc(33, 9).toString('base64')}`],
    ['no key', 'example.com/log+00000000'],
  ])('with %s is refused', (_, vkey) => {
    expect(() => parseVkey(vkey)).toThrow(LogRefused);
  });

  test.each(['a b', 'a+b', '', 'a\u0007'])('has no name such as "%s"', (name) => {
    expect(() => noteKey(name, 'ed25519', key.public)).toThrow(LogRefused);
  });
});

test('bytes have exactly one base64', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const text = Buffer.from(bytes).toString('base64');
      expect(strictBase64(text)).toEqual(Buffer.from(bytes));
      expect(strictBase64(`${text}\n`)).toBeUndefined();
    }),
  );
  for (const spelling of ['AA=', 'AA', 'AB==', 'A-__', 'AA==AA==']) expect(strictBase64(spelling)).toBeUndefined();
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import {
  decodeStored,
  encodeStored,
  fromEnvelope,
  preAuthEncoding,
  signPayload,
  toEnvelope,
  verifyPayload,
} from './dsse.ts';

const key = new SigningKey(Buffer.alloc(32, 1));
const other = new SigningKey(Buffer.alloc(32, 2));
const aPayload = fc.json().map((text) => Buffer.from(text));

test('what is signed names the type and both lengths (the example of the DSSE specification)', () => {
  expect(preAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world')).toString()).toBe(
    'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
  );
});

describe('a signed payload', () => {
  test('verifies after it was an envelope or stored, with the same bytes', () => {
    fc.assert(
      fc.property(aPayload, (payload) => {
        const signed = signPayload(key, payload);
        const stored = decodeStored(Buffer.from(encodeStored(signed)));
        for (const again of [fromEnvelope(toEnvelope(signed)), stored]) {
          if (again === undefined || 'refused' in again) throw new Error('it did not come back');
          expect(again).toEqual(signed);
          expect(verifyPayload(key.public, again)).toBe(true);
        }
      }),
    );
  });

  test('does not verify under another key, as another type, or after any change', () => {
    const signed = signPayload(key, Buffer.from('{"a":1}'));
    expect(verifyPayload(other.public, signed)).toBe(false);
    expect(verifyPayload(other.public, { ...signed, keyId: other.public.id })).toBe(false);
    expect(verifyPayload(key.public, { ...signed, keyId: other.public.id })).toBe(false);
    expect(verifyPayload(key.public, signed, 'application/json')).toBe(false);
    expect(verifyPayload(key.public, { ...signed, payload: Buffer.from('{"a":2}') })).toBe(false);
    expect(verifyPayload(key.public, { ...signed, signature: signed.signature.subarray(1) })).toBe(false);
  });

  test('has one spelling as an envelope: other base64 of the same bytes is refused', () => {
    const envelope = toEnvelope(signPayload(key, Buffer.from('{"a":12}')));
    const [signature] = envelope.signatures;
    expect(fromEnvelope({ ...envelope, payload: `${envelope.payload}\n` })).toHaveProperty('refused');
    expect(fromEnvelope({ ...envelope, payload: envelope.payload.replace(/=+$/, '') + ' ' })).toHaveProperty('refused');
    expect(
      fromEnvelope({ ...envelope, signatures: [{ ...signature, sig: signature.sig.replace(/==$/, '') }] }),
    ).toHaveProperty('refused');
  });

  test.each([
    ['nothing', ''],
    ['a short key id', `${'a'.repeat(63)}.${'A'.repeat(86)}==.{}`],
    ['an upper-case key id', `${'A'.repeat(64)}.${'A'.repeat(86)}==.{}`],
    ['no dot after the signature', `${'a'.repeat(64)}.${'A'.repeat(86)}==`],
    ['base64 that is not canonical', `${'a'.repeat(64)}.${'A'.repeat(85)}B==.{}`],
  ])('with %s is not in its stored form', (_, stored) => {
    expect(decodeStored(Buffer.from(stored))).toBeUndefined();
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SecretsKeys } from './secrets-keys.ts';
import { SigningKey } from './signing-key.ts';

const [A, B] = [new SigningKey(Buffer.alloc(32, 1)), new SigningKey(Buffer.alloc(32, 2))];

describe('the keys of secrets', () => {
  test('open what they sealed at its own place, and nothing that was moved or changed', () => {
    const keys = new SecretsKeys(A);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.string(), fc.nat(), (bytes, place, at) => {
        const sealed = keys.seal(place, bytes);
        expect(keys.open(place, sealed)).toEqual(Buffer.from(bytes));
        expect(() => keys.open(`${place}!`, sealed)).toThrow('changed, or moved');
        const digit = sealed.length - 1 - (at % (sealed.length - 17));
        const other = sealed[digit] === 'A' ? 'Q' : 'A';
        const changed = sealed.slice(0, digit) + other + sealed.slice(digit + 1);
        // The last character of Base64 may carry bits that stand for nothing.
        if (digit < sealed.length - 1) expect(() => keys.open(place, changed)).toThrow('changed, or moved');
      }),
    );
    expect(keys.seal('p', Buffer.from('x'))).not.toBe(keys.seal('p', Buffer.from('x')));
  });

  test('follow one another: each opens and recognizes, the first alone seals and marks', () => {
    const [before, both, after] = [new SecretsKeys(A), new SecretsKeys(B, A), new SecretsKeys(B)];
    const [old, fresh] = [before.seal('p', Buffer.from('x')), both.seal('p', Buffer.from('x'))];
    expect(both.open('p', old).toString()).toBe('x');
    expect([both.isCurrent(old), both.isCurrent(fresh), before.isCurrent(old)]).toEqual([false, true, true]);
    expect(after.open('p', fresh).toString()).toBe('x');
    expect(() => after.open('p', old)).toThrow('not known here');
    const [oldMark, freshMark] = [before.mark('m', 't'), both.mark('m', 't')];
    expect(both.recognizes('m', 't', oldMark) && after.recognizes('m', 't', freshMark)).toBe(true);
    expect(after.recognizes('m', 't', oldMark)).toBe(false);
    expect(both.recognizes('n', 't', freshMark) || both.recognizes('m', 'u', freshMark)).toBe(false);
    expect(both.recognizes('m', 't', freshMark.subarray(1))).toBe(false);
  });

  test('refuse texts that nobody sealed', () => {
    for (const text of ['', '.', 'x', `${A.public.id.slice(0, 16)}.`, `${A.public.id.slice(0, 16)}.AAAA`])
      expect(() => new SecretsKeys(A).open('p', text)).toThrow();
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { beganMsOf, tokenOf } from './begun.ts';

const SECRET = '00112233445566ff';
const CLAIM = `w-1 ${tokenOf(SECRET)} 1000`;
const RUNNING = { from: 1_000, to: 2_000 };

describe('when an engine began', () => {
  test('is when its claim was made, where the claim says so', () => {
    expect(beganMsOf(`${CLAIM} begins`, undefined, RUNNING)).toBe(1_000);
    expect(beganMsOf(CLAIM, undefined, RUNNING)).toBeUndefined();
  });

  test('is what its holder says, and never before the claim nor after the end', () => {
    const anything = fc.oneof(fc.nat().map(String), fc.string(), fc.constantFrom('', '-1', '1e300', '9'.repeat(400)));
    fc.assert(
      fc.property(anything, (ms) => {
        const began = beganMsOf(CLAIM, `${SECRET} ${ms}`, RUNNING);
        expect(began).toBe(/^\d{1,15}$/.test(ms) ? Math.min(2_000, Math.max(1_000, Number(ms))) : 1_000);
      }),
    );
  });

  test('is not said by anybody who only knows what stands in Redis', () => {
    const hex = fc
      .array(fc.constantFrom(...'0 1 2 3 4 5 6 7 8 9 a b c d e f'.split(' ')), { maxLength: 40 })
      .map((digits) => digits.join(''));
    const written = fc.oneof(
      hex,
      fc.string(),
      fc.constantFrom(tokenOf(SECRET), `${SECRET}0`, SECRET.slice(1), 'begins'),
    );
    fc.assert(
      fc.property(
        written.filter((text) => text.split(' ')[0] !== SECRET),
        (text) => {
          expect(beganMsOf(CLAIM, `${text} 1500`, RUNNING)).toBeUndefined();
        },
      ),
    );
  });
});

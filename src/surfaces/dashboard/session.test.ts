import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { COOKIE, cookieOf, isProof, nameOf, newToken, proofOf, tokenIn } from './session.ts';

describe('the cookie of a session', () => {
  test('is found among any other cookies, and only where it is there once', () => {
    const token = newToken();
    const other = fc.stringMatching(/^[a-z]{1,8}=[A-Za-z0-9_-]{0,50}$/);
    fc.assert(
      fc.property(fc.array(other), fc.array(other), (before, after) => {
        const cookies = (...own: string[]) => [...before, ...own, ...after].join('; ');
        expect(tokenIn(cookies(`${COOKIE}=${token}`))).toBe(token);
        expect(tokenIn(cookies(`${COOKIE}=${token}`, `${COOKIE}=${newToken()}`))).toBeUndefined();
        expect(tokenIn(cookies())).toBeUndefined();
      }),
    );
  });

  test('is nothing in any text that is not a token', () => {
    fc.assert(fc.property(fc.string({ maxLength: 60 }), (text) => tokenIn(`${COOKIE}=${text}`) === undefined));
    expect(tokenIn(undefined)).toBeUndefined();
  });

  test('is hidden from scripts and from other sites, and secure where the connection is', () => {
    const token = newToken();
    expect(cookieOf(token, false)).toBe(`${COOKIE}=${token}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict`);
    expect(cookieOf(token, true)).toMatch(/; Secure$/);
    expect(cookieOf(undefined, false)).toContain(`${COOKIE}=; Path=/; Max-Age=0;`);
  });
});

test('only the proof of a session is its proof, and neither proof nor name tells the secret', () => {
  const token = newToken();
  expect(isProof(token, proofOf(token))).toBe(true);
  for (const wrong of [undefined, '', token, nameOf(token), proofOf(newToken()), [proofOf(token)]])
    expect(isProof(token, wrong)).toBe(false);
});

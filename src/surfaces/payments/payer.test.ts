import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { VISITOR, isPayer, payerTenant, payerToken, readPayerToken } from './payer.ts';

const KEY = new SecretsKeys(new SigningKey(Buffer.alloc(32, 1)));
const ADDRESS = `0x${'ab'.repeat(20)}`;
const JOB = 'job_p00101jabcdefghjkmnpqrstvwxyz0';
const NOW = Date.parse('2026-11-21T08:00:00Z');
const DAY_MS = 86_400_000;

describe("a payer's token", () => {
  const tenant = payerTenant(ADDRESS);
  const token = payerToken(KEY, tenant, JOB, NOW);

  test('names its tenant and its job for a day, and nothing a moment later', () => {
    expect(readPayerToken(KEY, token, NOW)).toEqual({ tenant, job: JOB });
    expect(readPayerToken(KEY, token, NOW + DAY_MS - 1)).toEqual({ tenant, job: JOB });
    expect(readPayerToken(KEY, token, NOW + DAY_MS)).toBeUndefined();
  });

  test('of another key is worth nothing', () => {
    expect(readPayerToken(new SecretsKeys(new SigningKey(Buffer.alloc(32, 2))), token, NOW)).toBeUndefined();
  });

  // The attacker holds a token of his own, and wants another job, another payer, or more time.
  test('with any character changed is worth nothing, or says the same', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: token.length - 1 }),
        fc.constantFrom(...Array.from('0123456789abcdefABC_-z')),
        (at, character) => {
          const forged = token.slice(0, at) + character + token.slice(at + 1);
          const read = readPayerToken(KEY, forged, NOW);
          if (read !== undefined) expect(read).toEqual({ tenant, job: JOB });
        },
      ),
    );
  });

  test('whose claim is that of another one is worth nothing', () => {
    const other = payerToken(KEY, payerTenant(`0x${'cd'.repeat(20)}`), JOB, NOW);
    const mac = token.slice(token.lastIndexOf('_', token.length - 44));
    expect(readPayerToken(KEY, other.slice(0, other.length - mac.length) + mac, NOW)).toBeUndefined();
  });
});

describe("a payer's tenant", () => {
  test('is one for each address, and none of them is the tenant of visitors', () => {
    expect(payerTenant(ADDRESS)).toBe(`x402-${'ab'.repeat(20)}`);
    expect([isPayer(payerTenant(ADDRESS)), isPayer(VISITOR), isPayer('acme')]).toEqual([true, false, false]);
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { parsePaymentTerms, unitsOf } from './payment-terms.ts';

const WAY = {
  scheme: 'exact',
  network: 'eip155:8453',
  asset: `0x${'1'.repeat(40)}`,
  payTo: `0x${'2'.repeat(40)}`,
  unitsPerMillionth: '1',
  extra: { name: 'USDC', version: '2' },
};
const TERMS = {
  version: 1,
  facilitator: 'https://facilitator.example',
  resource: 'https://api.example',
  currency: 'USD',
  accepts: [WAY],
};

function mistakes(json: unknown, currency: string | undefined): string {
  try {
    parsePaymentTerms(json, 'x402.json', currency);
  } catch (error) {
    return error instanceof CodedError ? `${error.code}: ${error.message}` : String(error);
  }
  return 'none';
}

describe('terms of payment', () => {
  test('that are complete are taken, and an authorization must be valid for 15 minutes unless they say otherwise', () => {
    expect(parsePaymentTerms(TERMS, 'x402.json', 'USD').accepts[0]?.maxTimeoutSeconds).toBe(900);
  });

  test.each([
    ['another currency than the prices', TERMS, 'EUR', 'is in USD, but the price table is in EUR'],
    ['no price table', TERMS, undefined, 'is in USD, but there is no price table'],
    ['a transfer without its EIP-712 domain', { ...TERMS, accepts: [{ ...WAY, extra: {} }] }, 'USD', 'EIP-712'],
    ['no way to pay', { ...TERMS, accepts: [] }, 'USD', 'accepts'],
    ['a token that is given away', { ...TERMS, accepts: [{ ...WAY, unitsPerMillionth: '0' }] }, 'USD', 'unitsPer'],
    ['an address that is too short', { ...TERMS, accepts: [{ ...WAY, payTo: '0x12' }] }, 'USD', 'payTo'],
    ['a member that means nothing', { ...TERMS, payto: 'x' }, 'USD', 'payto'],
  ])('with %s are refused', (_name, terms, currency, why) => {
    const said = mistakes(terms, currency);
    expect(said).toMatch(/^payment_terms_invalid: x402\.json/);
    expect(said).toContain(why);
  });

  test('amounts are exact also beyond the numbers that a double holds', () => {
    expect(unitsOf({ unitsPerMillionth: '1000000000000000000' }, 123_456_789)).toBe('123456789000000000000000000');
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.bigInt({ min: 1n, max: 10n ** 30n }), (millionths, units) => {
        const text = unitsOf({ unitsPerMillionth: units.toString() }, millionths);
        expect(BigInt(text) / units).toBe(BigInt(millionths));
      }),
    );
  });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parsePaymentTerms } from './payment-terms.ts';
import { encode, paymentRequired, readPayment, requirementsOf, wayOf, type Payment } from './x402.ts';

const PAYER = `0x${'Ab'.repeat(20)}`;
const TERMS = parsePaymentTerms(
  {
    version: 1,
    facilitator: 'https://facilitator.example',
    resource: 'https://api.example',
    currency: 'USD',
    accepts: ['exact', 'upto'].map((scheme) => ({
      scheme,
      network: 'eip155:8453',
      asset: `0x${'Cd'.repeat(20)}`,
      payTo: `0x${'2'.repeat(40)}`,
      unitsPerMillionth: '3',
      extra: { name: 'USDC', version: '2' },
    })),
  },
  'terms',
  'USD',
);
const PRICE = {
  table: { id: 'v1', sha256: '0'.repeat(64) },
  currency: 'USD',
  input: 1,
  output: 1,
  second: 0,
  attestation: 0,
  hold: 500,
};
const SIGNATURE = `0x${'9'.repeat(130)}`;

function eip3009(change: object = {}) {
  const nonce = `0x${'0'.repeat(62)}2a`;
  return {
    signature: SIGNATURE,
    authorization: { from: PAYER, nonce, validAfter: '10', validBefore: '20', value: '1500', ...change },
  };
}

function permit2(change: object = {}) {
  const authorization = { from: PAYER, nonce: '42', deadline: '20', witness: { validAfter: '10' }, ...change };
  return { signature: SIGNATURE, permit2Authorization: authorization };
}

function header(payload: object, accepted: object = {}): string {
  const [way] = TERMS.accepts;
  const requirements = way === undefined ? {} : requirementsOf(way, PRICE);
  return encode({ x402Version: 2, accepted: { ...requirements, ...accepted }, payload });
}

function payment(text: string): Payment {
  const read = readPayment(text);
  if (read === undefined) throw new Error('The header was not read.');
  return read;
}

describe('a payment in its header', () => {
  test('is read with its payer in lower case and its times in ms, for both kinds of signature', () => {
    for (const payload of [eip3009(), permit2()])
      expect(payment(header(payload))).toMatchObject({ payer: PAYER.toLowerCase(), sinceMs: 10_000, untilMs: 20_000 });
  });

  // The payer has paid once, and spells the same authorization otherwise to get a second answer for it.
  test('has one id, however address and nonce are spelled', () => {
    const { id } = payment(header(permit2()));
    const respelled = [
      header(permit2({ from: PAYER.toLowerCase() })),
      header(permit2({ nonce: '0042' })),
      header(permit2(), { asset: `0x${'CD'.repeat(20)}` }),
      header(eip3009()),
    ];
    expect(respelled.map((text) => payment(text).id)).toEqual(respelled.map(() => id));
  });

  test('has another id for another nonce, payer, token or chain', () => {
    const ids = [
      header(permit2()),
      header(permit2({ nonce: '43' })),
      header(permit2({ from: `0x${'1'.repeat(40)}` })),
      header(permit2(), { asset: `0x${'1'.repeat(40)}` }),
      header(permit2(), { network: 'eip155:1' }),
    ].map((text) => payment(text).id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('is of no use with another version, a half signature, or times that are no numbers', () => {
    const broken = [
      encode({ x402Version: 1, accepted: {}, payload: {} }),
      header({ ...eip3009(), signature: '0x' }),
      header(eip3009({ from: 'me' })),
      header(eip3009({ validBefore: '-1' })),
      header(eip3009({ validBefore: '1e9' })),
      header(permit2({ nonce: '-42' })),
      header({}),
      'not base64 of anything',
      '',
    ];
    expect(broken.map(readPayment)).toEqual(broken.map(() => undefined));
  });

  test('does not end the process, whatever it is, and is not even decoded when it is very long', () => {
    fc.assert(fc.property(fc.string(), (text) => void readPayment(text)));
    fc.assert(fc.property(fc.json(), (text) => void readPayment(Buffer.from(text).toString('base64'))));
    expect(readPayment(header({ ...eip3009(), more: 'x'.repeat(8_192) }))).toBeUndefined();
  });
});

describe('the way of a payment', () => {
  test('is the one it names, with addresses in any case', () => {
    expect(wayOf(TERMS, payment(header(eip3009())), PRICE)?.scheme).toBe('exact');
    expect(wayOf(TERMS, payment(header(permit2(), { scheme: 'upto' })), PRICE)?.scheme).toBe('upto');
    const upper = { payTo: `0x${'2'.repeat(40)}`, asset: `0x${'CD'.repeat(20)}` };
    expect(wayOf(TERMS, payment(header(eip3009(), upper)), PRICE)?.scheme).toBe('exact');
  });

  test.each([
    { amount: '1499' },
    { amount: '01500' },
    { payTo: `0x${'3'.repeat(40)}` },
    { network: 'eip155:1' },
    { scheme: 'free' },
  ])('with %j is none that is offered', (accepted) => {
    expect(wayOf(TERMS, payment(header(eip3009(), accepted)), PRICE)).toBeUndefined();
  });
});

test('a refusal names every way to pay, for the most that the job can cost', () => {
  const text = Buffer.from(paymentRequired(TERMS, PRICE, '/v1/jobs', 'pay'), 'base64').toString('utf8');
  expect(JSON.parse(text)).toMatchObject({
    x402Version: 2,
    error: 'pay',
    resource: { url: 'https://api.example/v1/jobs' },
    accepts: [
      { scheme: 'exact', amount: '1500' },
      { scheme: 'upto', amount: '1500' },
    ],
  });
});

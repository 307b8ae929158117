import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { Price } from '../../proof/receipts/statements.ts';
import { maxUnits, type PaymentTerms, type Way } from './payment-terms.ts';

/**
 * Version 2 of x402 over HTTP: the headers `PAYMENT-REQUIRED`, `PAYMENT-SIGNATURE` and `PAYMENT-RESPONSE`,
 * each the Base64 of JSON, with the schemes `exact` and `upto` on EVM chains.
 */
export const X402_VERSION = 2;
const MAX_HEADER = 8_192;

/** One way to pay as a payer sees it; `amount` is in smallest units of the token. */
export const Requirements = z.object({
  scheme: z.enum(['exact', 'upto']),
  network: z.string(),
  amount: z.string(),
  asset: z.string(),
  payTo: z.string(),
  maxTimeoutSeconds: z.number(),
  extra: z.record(z.string(), z.unknown()),
});
export type Requirements = z.infer<typeof Requirements>;

/** The requirements of one way to pay for a job of this price: the most that it can take. */
export function requirementsOf(way: Way, price: Price): Requirements {
  const { scheme, network, asset, payTo, maxTimeoutSeconds, extra } = way;
  return { scheme, network, amount: maxUnits(way, price), asset, payTo, maxTimeoutSeconds, extra };
}

/** The value of `PAYMENT-REQUIRED`: every way to pay for a job of this price, and why it is asked for. */
export function paymentRequired(terms: PaymentTerms, price: Price, path: string, error: string): string {
  return encode({
    x402Version: X402_VERSION,
    error,
    resource: {
      url: `${terms.resource}${path}`,
      description: 'an answer that is confirmed before it is paid',
      mimeType: 'application/json',
    },
    accepts: terms.accepts.map((way) => requirementsOf(way, price)),
  });
}

const Address = z.string().regex(/^0x[0-9a-fA-F]{40}$/);
const Seconds = z.string().regex(/^[0-9]{1,15}$/);
const Signature = z.string().regex(/^0x[0-9a-fA-F]{2,4096}$/);

/** What a payer signs: a transfer by EIP-3009, or one by Permit2. */
const Signed = z.union([
  z
    .looseObject({
      signature: Signature,
      authorization: z.looseObject({
        from: Address,
        nonce: z.string().regex(/^0x[0-9a-fA-F]{64}$/),
        validAfter: Seconds,
        validBefore: Seconds,
      }),
    })
    .transform(({ authorization: { from, nonce, validAfter, validBefore } }) => ({
      from,
      nonce,
      since: validAfter,
      until: validBefore,
    })),
  z
    .looseObject({
      signature: Signature,
      permit2Authorization: z.looseObject({
        from: Address,
        nonce: z.string().regex(/^[0-9]{1,78}$/),
        deadline: Seconds,
        witness: z.looseObject({ validAfter: Seconds }),
      }),
    })
    .transform(({ permit2Authorization: { from, nonce, deadline, witness } }) => ({
      from,
      nonce,
      since: witness.validAfter,
      until: deadline,
    })),
]);

const Payload = z.looseObject({
  x402Version: z.literal(X402_VERSION),
  accepted: z.looseObject({
    scheme: z.string(),
    network: z.string(),
    amount: z.string(),
    asset: Address,
    payTo: Address,
  }),
  payload: z.record(z.string(), z.unknown()),
});
export type PaymentPayload = z.infer<typeof Payload>;

/** A payment as its header states it. Only its form is checked, not its signature. */
export interface Payment {
  readonly payload: PaymentPayload;
  /** Address in lower case, with `0x`. */
  readonly payer: string;
  /** The same for every spelling of one authorization, which a chain accepts once. */
  readonly id: string;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** The payment in the header `PAYMENT-SIGNATURE`; undefined if it holds none that we understand. */
export function readPayment(header: string): Payment | undefined {
  if (header.length > MAX_HEADER) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(header, 'base64').toString('utf8'));
  } catch {
    return undefined;
  }
  const payload = Payload.safeParse(json);
  if (!payload.success) return undefined;
  const signed = Signed.safeParse(payload.data.payload);
  if (!signed.success) return undefined;
  const { network, asset } = payload.data.accepted;
  const { from, nonce, since, until } = signed.data;
  const payer = from.toLowerCase();
  return {
    payload: payload.data,
    payer,
    id: sha256Hex(`${network} ${asset.toLowerCase()} ${payer} ${BigInt(nonce)}`),
    sinceMs: Number(since) * 1_000,
    untilMs: Number(until) * 1_000,
  };
}

/** The offered way to pay that a payment uses; undefined if it is not offered, or not at this price. */
export function wayOf(terms: PaymentTerms, { payload: { accepted } }: Payment, price?: Price): Way | undefined {
  const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();
  return terms.accepts.find(
    (way) =>
      way.scheme === accepted.scheme &&
      way.network === accepted.network &&
      same(way.asset, accepted.asset) &&
      same(way.payTo, accepted.payTo) &&
      (price === undefined || maxUnits(way, price) === accepted.amount),
  );
}

/** The value of a header of x402. */
export function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { trustedBase } from '../../ground/config/fields.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Price } from '../../proof/receipts/statements.ts';

const Address = z.string().regex(/^0x[0-9a-fA-F]{40}$/);

/** One way to pay: a token of an EVM chain, by a scheme of x402. */
const Way = z
  .strictObject({
    /** `exact` takes the most that the job can cost, `upto` what its receipt comes to. */
    scheme: z.enum(['exact', 'upto']),
    network: z.string().regex(/^eip155:[1-9][0-9]{0,17}$/),
    asset: Address,
    payTo: Address,
    /** Smallest units of the token per millionth of the currency: 1 for a token of six decimals at par. */
    unitsPerMillionth: z.string().regex(/^[1-9][0-9]{0,30}$/),
    /** How long a payer's authorization must be valid; jobs must end sooner. */
    maxTimeoutSeconds: z.number().int().min(300).max(86_400).default(900),
    extra: z.record(z.string(), z.unknown()).default({}),
  })
  .refine(
    ({ scheme, extra }) =>
      scheme !== 'exact' || (typeof extra['name'] === 'string' && typeof extra['version'] === 'string'),
    { message: "exact needs extra.name and extra.version, the token's EIP-712 domain", path: ['extra'] },
  );
export type Way = z.infer<typeof Way>;

const PaymentTerms = z.strictObject({
  version: z.literal(1),
  /** Address of the facilitator, which verifies and settles payments. */
  facilitator: trustedBase,
  /** Public address of this service, as payers use it. */
  resource: trustedBase,
  /** The currency of the price table. */
  currency: z.string(),
  accepts: z.array(Way).min(1).max(8),
});
export type PaymentTerms = z.infer<typeof PaymentTerms>;

/**
 * The operator's terms for payers without an account, from a file. `currency` is that of the price table.
 * Throws CodedError `payment_terms_invalid`, which names every mistake.
 */
export function readPaymentTerms(path: string, currency: string | undefined): PaymentTerms {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CodedError('payment_terms_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
  }
  return parsePaymentTerms(json, path, currency);
}

/** The terms of a parsed file; `name` begins the error. Throws as `readPaymentTerms`. */
export function parsePaymentTerms(json: unknown, name: string, currency: string | undefined): PaymentTerms {
  const parsed = PaymentTerms.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
    throw new CodedError('payment_terms_invalid', `${name}: ${problems.join('; ')}`);
  }
  if (parsed.data.currency !== currency) {
    const priced = currency === undefined ? 'there is no price table' : `the price table is in ${currency}`;
    throw new CodedError('payment_terms_invalid', `${name} is in ${parsed.data.currency}, but ${priced}.`);
  }
  return parsed.data;
}

/** Smallest units of the token, in decimal, for an amount in millionths of the currency. */
export function unitsOf(way: Pick<Way, 'unitsPerMillionth'>, millionths: number): string {
  return (BigInt(millionths) * BigInt(way.unitsPerMillionth)).toString();
}

/** The most that a job of this price can take from a payer, in smallest units of the token. */
export function maxUnits(way: Way, price: Price): string {
  return unitsOf(way, price.hold);
}

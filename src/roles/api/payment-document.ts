import { z } from 'zod';
import { PAYMENT_STATES, type PaymentRecord } from '../../surfaces/payments/payment.store.ts';

/** A payment as HTTP shows it. */
export const PaymentDocument = z.strictObject({
  job: z.string(),
  state: z.enum(PAYMENT_STATES),
  payer: z.string(),
  scheme: z.enum(['exact', 'upto']),
  network: z.string(),
  asset: z.string(),
  pay_to: z.string(),
  amount: z.string().describe('smallest units of the token: what is taken, and the most of it while the job is open'),
  transaction: z.string().nullable(),
  problem: z.string().nullable(),
});
export type PaymentDocument = z.infer<typeof PaymentDocument>;

export function paymentDocument(job: string, record: PaymentRecord): PaymentDocument {
  const { state, payer, requirements, transaction, problem } = record;
  const { scheme, network, asset, payTo, amount } = requirements;
  return {
    job,
    state,
    payer,
    scheme,
    network,
    asset,
    pay_to: payTo,
    amount,
    transaction: transaction === '' ? null : transaction,
    problem: problem === '' ? null : problem,
  };
}

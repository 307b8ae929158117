import { CodedError } from '../../ground/errors/coded-error.ts';
import { ReceiptRefused, type RefusalReason } from '../../proof/receipts/receipt.ts';

/**
 * Why an answer was not passed on: the reasons for which a receipt is refused, and what only the proxy looks
 * at. `no_receipt`: none could be had; `other_job`: it is another job's; `not_fresh`: it was given before, or
 * is older than the request; `too_weak`: less was checked than is required; `wrong_answer`: the answer says
 * something else than the receipt; `broken_off`: a stream ended before its answer was confirmed.
 */
export type UnverifiedReason =
  RefusalReason | 'no_receipt' | 'other_job' | 'not_fresh' | 'too_weak' | 'wrong_answer' | 'broken_off';

/** An answer that is withheld, because nothing shows that it is the one that was confirmed. */
export class Unverified extends CodedError {
  override readonly name = 'Unverified';
  readonly reason: UnverifiedReason;

  constructor(reason: UnverifiedReason, sentence: string, options: { cause?: unknown; hint?: string } = {}) {
    super('unverified_answer', `The answer is withheld (${reason}): ${sentence}`, {
      ...options,
      headers: { 'countersign-refusal': reason },
    });
    this.reason = reason;
  }

  /** The same refusal, of a receipt that does not hold; anything else is thrown on as it is. */
  static from(error: unknown): Unverified {
    if (error instanceof ReceiptRefused) return new Unverified(error.reason, error.message, { cause: error });
    throw error;
  }
}

import type { VerifiedReceipt } from '../../proof/receipts/receipt.ts';

/** What a verdict leaves open, in words that need no page. */
export const NOT_CHECKED: Readonly<Record<VerifiedReceipt['verdict']['notChecked'][number], string>> = {
  OUTPUT_NOT_RECOMPUTED: 'whether the model gives this answer (nobody computed it again)',
  WEIGHTS_DECLARED_NOT_MEASURED: 'the weights (the operator declared them, and the worker did not measure them)',
  HARDWARE_NOT_ATTESTED: 'the machine (it showed no hardware evidence)',
};

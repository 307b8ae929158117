import { CodedError } from '../../ground/errors/coded-error.ts';
import { ReceiptFile, ReceiptRefused } from '../../proof/receipts/receipt.ts';
import { LogRefused } from '../../proof/tlog/signed-note.ts';
import { cosignersOf, openTrusted, type TlogPolicy } from '../../proof/tlog/tlog-policy.ts';
import { parseProof } from '../../proof/tlog/tlog-proof.ts';

/** What comparing two checkpoints of one log came to, in one sentence. */
export interface Compared {
  /** False where they have different sizes: whether one goes on from the other, only the log can prove. */
  readonly isComparable: boolean;
  readonly note: string;
}

/**
 * Compares the checkpoint that somebody kept with that of a verified receipt. Throws ReceiptRefused
 * `not_logged` where the log has signed two trees of one size, and CodedError `request_invalid` for what is
 * no checkpoint of the receipt's log.
 */
export function compareCheckpoint(kept: Uint8Array, receipt: Uint8Array, policy: TlogPolicy): Compared {
  const { log } = ReceiptFile.parse(JSON.parse(Buffer.from(receipt).toString('utf8')));
  const { checkpoint: own } = openTrusted(policy, parseProof(log.proof).checkpoint);
  const { checkpoint, note } = openKept(kept, policy);
  if (checkpoint.origin !== own.origin)
    throw new CodedError(
      'request_invalid',
      `The checkpoint given is of the log ${checkpoint.origin}, and the receipt of ${own.origin}.`,
    );
  const cosigners = [...cosignersOf(policy, note).keys()];
  const by = cosigners.length === 0 ? 'no witness of the policy has signed it' : `signed by ${cosigners.join(', ')}`;
  if (checkpoint.size !== own.size)
    return {
      isComparable: false,
      note: `the checkpoint given has ${checkpoint.size} entries and that of the receipt ${own.size}: whether one goes on from the other, only the log can prove; countersign log audit --kept FILE asks it`,
    };
  if (!checkpoint.root.equals(own.root))
    throw new ReceiptRefused(
      'not_logged',
      `The log: the checkpoint given and that of the receipt have ${own.size} entries each and different roots. The log has signed two histories; keep both files, they prove it.`,
    );
  return {
    isComparable: true,
    note: `the checkpoint given, of ${own.size} entries, has the same root as that of the receipt; ${by}`,
  };
}

function openKept(kept: Uint8Array, policy: TlogPolicy): ReturnType<typeof openTrusted> {
  try {
    return openTrusted(policy, Buffer.from(kept).toString('utf8'));
  } catch (cause) {
    if (!(cause instanceof LogRefused)) throw cause;
    throw new CodedError('request_invalid', `The checkpoint given is refused: ${cause.message}`, { cause });
  }
}

import type { z } from 'zod';
import type { Envelope } from '../src/proof/receipts/dsse.ts';
import type { ReceiptFile } from '../src/proof/receipts/receipt.ts';
import type { Evidence, Ticket, Verdict } from '../src/proof/receipts/statements.ts';

/** What a receipt says, as it is read here. It is read and not verified: that is what /verify is for. */
export interface ReadReceipt {
  readonly ticket: Ticket['predicate'];
  readonly evidence: Evidence['predicate'];
  readonly verdict: Verdict['predicate'];
  readonly inputSha256: string;
  readonly outputSha256: string;
  /** The key ids of API, worker and attestor. */
  readonly signers: readonly [string, string, string];
  /** Its place in the log. */
  readonly index: number | undefined;
  readonly bytes: number;
}

/** The JSON of the statement in an envelope. */
function statementIn({ payload }: Envelope): unknown {
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (one) => one.charCodeAt(0))));
}

/** Reads the text of a receipt file. Throws SyntaxError where it is none. */
export function readReceipt(text: string): ReadReceipt {
  const file = JSON.parse(text) as z.infer<typeof ReceiptFile>;
  const ticket = statementIn(file.ticket) as Ticket;
  const evidence = statementIn(file.evidence) as Evidence;
  const verdict = statementIn(file.verdict) as Verdict;
  const signer = ({ signatures }: Envelope) => signatures[0].keyid;
  const index = /^index (\d+)$/m.exec(file.log.proof)?.[1];
  return {
    ticket: ticket.predicate,
    evidence: evidence.predicate,
    verdict: verdict.predicate,
    inputSha256: ticket.subject[0].digest.sha256,
    outputSha256: evidence.subject[0].digest.sha256,
    signers: [signer(file.ticket), signer(file.evidence), signer(file.verdict)],
    index: index === undefined ? undefined : Number(index),
    bytes: text.length,
  };
}

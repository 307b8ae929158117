import { chargeOf } from '../../proof/receipts/charge.ts';
import { Evidence, Ticket, Verdict } from '../../proof/receipts/statements.ts';
import type { SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Confirmation } from './confirmation.ts';

/**
 * What a confirmed job costs, in millionths, and the tokens that it used, as `sequence.lua` takes them. Empty
 * where nothing is reserved for it.
 */
export function settlementOf({ file, ticket, evidence, verdict }: Confirmation): readonly [string, string] {
  if (!file.isReserved) return ['', ''];
  const asked = Ticket.parse(jsonOf(ticket)).predicate;
  const said = Evidence.parse(jsonOf(evidence)).predicate;
  const found = Verdict.parse(jsonOf(verdict)).predicate;
  const { inputTokens, outputTokens } = found.usage ?? said.usage;
  return [String(chargeOf(asked, said, found)), String(inputTokens + outputTokens)];
}

function jsonOf({ payload }: SignedPayload): unknown {
  return JSON.parse(payload.toString('utf8'));
}

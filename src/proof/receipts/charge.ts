import { PROMISES } from './promises/promises.ts';
import type { Evidence, Price, Ticket, Verdict } from './statements.ts';

/**
 * What a job costs, from its documents alone, in millionths of the currency that the ticket names. Anyone
 * with the receipt comes to the same number: tokens read and written at the ticket's price for a million of
 * them, the seconds that the verdict allows, and the methods that the policy promised. Every run that the
 * promises need is paid. The sum is rounded up once. It is never more than the ticket holds, and all of it
 * where the ticket says that the price is fixed.
 */
export function chargeOf(
  ticket: Ticket['predicate'],
  evidence: Evidence['predicate'],
  verdict: Verdict['predicate'],
): number {
  const { price } = ticket;
  if (price === undefined) return 0;
  if (price.fixed === true) return price.hold;
  const signedMs = Date.parse(evidence.finishedAt) - Date.parse(evidence.startedAt);
  const seconds = Math.min(signedMs, verdict.ranMs ?? signedMs) / 1_000;
  const { inputTokens, outputTokens } = verdict.usage ?? evidence.usage;
  const run = runPrice(price, inputTokens, outputTokens, seconds);
  return Math.min(Math.ceil(PROMISES.paidRuns(verdict) * run + price.attestation), price.hold);
}

/** Before rounding. */
export function runPrice(
  { input, output, second }: Pick<Price, 'input' | 'output' | 'second'>,
  inputTokens: number,
  outputTokens: number,
  seconds: number,
): number {
  return (input * inputTokens + output * outputTokens) / 1_000_000 + second * seconds;
}

import type { Evidence, Price, Ticket, Verdict } from './statements.ts';

/**
 * What a job costs, in millionths of the currency that the ticket names. It follows from the documents alone,
 * so that anyone with the receipt computes the same number: input and output tokens at the ticket's price for
 * a million of them, the worker's seconds, and the methods that the policy promised. Every vote of a quorum
 * is paid. The sum is rounded up once and is never more than the ticket holds; where the price is fixed, it
 * is all that the ticket holds.
 */
export function chargeOf(
  ticket: Ticket['predicate'],
  evidence: Evidence['predicate'],
  verdict: Verdict['predicate'],
): number {
  const { price } = ticket;
  if (price === undefined) return 0;
  if (price.fixed === true) return price.hold;
  const seconds = (Date.parse(evidence.finishedAt) - Date.parse(evidence.startedAt)) / 1_000;
  const votes = verdict.quorum?.votes.length ?? 1;
  const { inputTokens, outputTokens } = verdict.usage ?? evidence.usage;
  const run = runPrice(price, inputTokens, outputTokens, seconds);
  return Math.min(Math.ceil(votes * run + price.attestation), price.hold);
}

/** What one run costs, before rounding, in the unit of the prices. */
export function runPrice(
  { input, output, second }: Pick<Price, 'input' | 'output' | 'second'>,
  inputTokens: number,
  outputTokens: number,
  seconds: number,
): number {
  return (input * inputTokens + output * outputTokens) / 1_000_000 + second * seconds;
}

import { workOf, type Engine } from '../engines/engine.ts';
import type { Evidence, Ticket } from '../../proof/receipts/statements.ts';
import type { Usage } from '../../proof/receipts/fields.ts';

/** A tokenizer takes time for what it reads; what is longer is left within what is possible. */
const MAX_BYTES = 262_144;

/** Whether the attestor counts the usage of a job by itself: where it is paid by usage, and nothing else finds it. */
export function isRecounted(engine: Engine | undefined, ticket: Ticket, { predicate }: Evidence): boolean {
  const { price, inputBytes } = ticket.predicate;
  return (
    engine?.recount !== undefined &&
    price !== undefined &&
    price.fixed !== true &&
    inputBytes + predicate.outputBytes <= MAX_BYTES
  );
}

/**
 * Usage by the attestor's own tokenizer, which the charge goes by. It catches input that was counted too high or too low, exactly. An
 * answer can be drawn in more tokens than its text needs, so those are no reason to refute it: they are not paid.
 * Undefined where the worker's count of the input is wrong.
 */
export function recountUsage(
  engine: Engine,
  ticket: Ticket,
  evidence: Evidence,
  input: unknown,
  output: string,
): Usage | undefined {
  const { usage } = evidence.predicate;
  const own = engine.recount?.(workOf(ticket), input, output);
  if (own === undefined) return usage;
  if (own.inputTokens !== usage.inputTokens) return undefined;
  return { inputTokens: own.inputTokens, outputTokens: Math.min(own.outputTokens, usage.outputTokens) };
}

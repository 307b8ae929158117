import type { Property } from '../../../proof/receipts/statements.ts';
import { workOf } from '../../engines/engine.ts';
import type { Method } from './method.ts';

/** A tokenizer takes time for what it reads; what is longer is left within what is possible. */
const MAX_BYTES = 262_144;

/**
 * The attestor counts the usage of a job by its own tokenizer, where the job is paid by usage and no other
 * method has counted it. It catches input that was counted too high or too low, exactly. An answer can be
 * drawn in more tokens than its text needs: those are no reason to refute it, and they are not paid.
 */
export const usage: Method<Property> = {
  name: 'usage',
  stage: 'last',
  isDrawn({ engine, ticket, evidence }, found) {
    const { price, inputBytes } = ticket.predicate;
    return (
      engine?.recount !== undefined &&
      price !== undefined &&
      price.fixed !== true &&
      inputBytes + evidence.predicate.outputBytes <= MAX_BYTES &&
      !found.has('USAGE_RECOUNTED')
    );
  },
  async check(attempt) {
    const theirs = attempt.evidence.predicate.usage;
    const own = await attempt.engine?.recount?.(workOf(attempt.ticket), await attempt.input(), await attempt.output());
    if (own === undefined) throw new Error('This attestor cannot count the usage of the job.');
    if (own.inputTokens !== theirs.inputTokens) return { refusals: ['USAGE_MISCOUNTED'] };
    const outputTokens = Math.min(own.outputTokens, theirs.outputTokens);
    return {
      properties: ['USAGE_RETOKENIZED'],
      measured: { usage: { inputTokens: own.inputTokens, outputTokens } },
    };
  },
};

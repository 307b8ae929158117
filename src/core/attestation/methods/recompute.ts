import { MAX_ABS_DIFF } from '../../../proof/receipts/promises/recompute.ts';
import type { Property } from '../../../proof/receipts/statements.ts';
import { OUTPUTS } from '../../../proof/tasks/task-input.ts';
import { runToEnd, workOf } from '../../engines/engine.ts';
import type { EngineModel } from '../../engines/engine-kind.ts';
import type { Attempt } from './attempt.ts';
import { isAudited } from './audits.ts';
import { OFFERED, type Method } from './method.ts';

type Refusal = 'RECOMPUTED_OUTPUT_DIFFERS' | 'RECOMPUTED_USAGE_DIFFERS';

/**
 * The method `recompute`: the attestor runs the job on its own engine and compares. For text the bytes must
 * be equal; for embeddings each number may differ by rounding, within `MAX_ABS_DIFF`. It catches any wrong
 * answer of an engine that repeats itself, at the cost of one run. It does not catch a worker and an attestor
 * that share a wrong build.
 */
export const recompute: Method<Property> = {
  name: 'recompute',
  stage: 'slow',

  offeredBy(equipment, model) {
    const engine = equipment.engineOf(model);
    if (engine === undefined) return { isOffered: false, why: 'it has no copy of the model' };
    return engine.repeatable === 'no' ? { isOffered: false, why: 'the engine does not repeat itself' } : OFFERED;
  },

  async unavailable({ model, policy }, heard) {
    if (policy.recompute === 0) return undefined;
    if (model.capabilities.repeats === 'no') return unrepeatable(model);
    if (await heard.isServed('recompute', model)) return undefined;
    return `No attestor can compute ${model.name} again. Ask with attestation.recompute 0, or start an attestor that has the model.`;
  },

  isDrawn(attempt) {
    return attempt.parts.isDrawn('recompute', attempt.ticket.predicate.policy.recompute) || isAudited(attempt);
  },

  async check(attempt, signal) {
    const { engine, ticket, evidence } = attempt;
    if (engine === undefined) throw new Error(`This attestor cannot compute ${ticket.predicate.model.name} again.`);
    const mine = await runToEnd(engine, workOf(ticket), await attempt.input(), signal);
    const theirs = await attempt.output();
    const { usage } = evidence.predicate;
    const isUsageEqual = mine.usage.inputTokens === usage.inputTokens && mine.usage.outputTokens === usage.outputTokens;
    const maxAbsDiff = engine.repeatable === 'exact' ? undefined : largestDifference(mine.output, theirs);
    const isOutputEqual = maxAbsDiff === undefined ? mine.output === theirs : maxAbsDiff <= MAX_ABS_DIFF;
    const refusals: Refusal[] = [
      ...(isOutputEqual ? [] : (['RECOMPUTED_OUTPUT_DIFFERS'] as const)),
      ...(isUsageEqual ? [] : (['RECOMPUTED_USAGE_DIFFERS'] as const)),
    ];
    return {
      refusals,
      properties: [
        'USAGE_RECOUNTED',
        maxAbsDiff === undefined ? 'OUTPUT_RECOMPUTED_EXACT' : 'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE',
      ],
      measured: said(attempt, { drawn: true, ...(Number.isFinite(maxAbsDiff) ? { maxAbsDiff } : {}) }),
    };
  },

  undrawn: (attempt) => ({ notChecked: ['OUTPUT_NOT_RECOMPUTED'], measured: said(attempt, { drawn: false }) }),
};

/** For the caller: answers of this model cannot be computed again, whoever tries. */
export function unrepeatable({ name, capabilities }: EngineModel): string {
  const tokens = capabilities.replay === undefined ? ' and without attestation.tokens' : '';
  return `Answers of ${name} cannot be computed again: its server gives no repeatable answers. Ask with attestation.recompute 0${tokens}.`;
}

function said({ ticket }: Attempt, done: { drawn: boolean; maxAbsDiff?: number | undefined }) {
  return { recompute: { promisedShare: ticket.predicate.policy.recompute, ...done } };
}

/** The largest difference between two embedding outputs; infinite where their shapes differ. */
function largestDifference(mine: string, theirs: string): number {
  const a = OUTPUTS.embedding.parse(JSON.parse(mine)).embeddings;
  const b = OUTPUTS.embedding.parse(JSON.parse(theirs)).embeddings;
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  for (const [row, vector] of a.entries()) {
    const other = b[row];
    if (other?.length !== vector.length) return Infinity;
    for (const [column, value] of vector.entries())
      largest = Math.max(largest, Math.abs(value - (other[column] ?? Infinity)));
  }
  return largest;
}

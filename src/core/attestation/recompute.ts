import { runToEnd, workOf, type Engine } from '../engines/engine.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Evidence, Property, Ticket } from '../../proof/receipts/statements.ts';
import type { Refusal } from './refusal.ts';

/**
 * The method `recompute`: the attestor runs the job on its own engine and compares. For text the bytes must be equal;
 * for embeddings each number may differ by rounding, within the bounds below. It catches any wrong answer of an engine
 * that repeats itself, at the cost of one run; it does not catch a worker and an attestor that share a wrong build.
 */

/** Measured on one runtime the difference is 0; the bound leaves room for another CPU's rounding and for nothing else. */
export const MAX_ABS_DIFF = 1e-4;

export interface RecomputeResult {
  readonly properties: Property[];
  readonly refusals: Refusal[];
  readonly maxAbsDiff: number | undefined;
}

export async function checkRecompute(
  engine: Engine,
  ticket: Ticket,
  evidence: Evidence,
  input: unknown,
  output: string,
  signal: AbortSignal,
): Promise<RecomputeResult> {
  const mine = await runToEnd(engine, workOf(ticket), input, signal);
  const { usage } = evidence.predicate;
  const usageEqual = mine.usage.inputTokens === usage.inputTokens && mine.usage.outputTokens === usage.outputTokens;
  const maxAbsDiff = engine.repeatable === 'exact' ? undefined : largestDifference(mine.output, output);
  const outputHolds = maxAbsDiff === undefined ? mine.output === output : maxAbsDiff <= MAX_ABS_DIFF;
  const refusals: Refusal[] = [
    ...(outputHolds ? [] : (['RECOMPUTED_OUTPUT_DIFFERS'] as const)),
    ...(usageEqual ? [] : (['RECOMPUTED_USAGE_DIFFERS'] as const)),
  ];
  if (refusals.length > 0) return { properties: [], refusals, maxAbsDiff };
  return {
    properties: [
      'USAGE_RECOUNTED',
      maxAbsDiff === undefined ? 'OUTPUT_RECOMPUTED_EXACT' : 'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE',
    ],
    refusals,
    maxAbsDiff,
  };
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

import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { workOf, type Engine, type Replay } from '../engines/engine.ts';
import { decodeTokens } from '../engines/token-ids.ts';
import type { Evidence, Property, Ticket } from '../../proof/receipts/statements.ts';
import type { Refusal } from './refusal.ts';

/**
 * The method `tokens`: the attestor scores the claimed tokens on its own copy of the model in one forward pass. With the seed of
 * the ticket it knows what the sampler would have drawn, and by how much the model's logits would have to differ for each token
 * that it would not (Token-DiFR, arXiv 2511.20621, with margins in logits). It catches another model, quantisation, prompt, seed or temperature, edited tokens and
 * answers that were cut; it does not catch what stays within the noise of honest machines. It costs one prefill. On a server that only tells log-probabilities of a prompt, drawn tokens are
 * judged by their likelihood: that catches other models, prompts and edits, and neither another seed nor what is likely as well.
 */

/**
 * How margins are judged. `margin`: of logits, which is nearly always 0; noise comes in runs, so more than chance alone needs. `surprise`:
 * of drawn tokens under a reference whose sampler is not known; honest ones have a mean near 1 whatever the text, and the draws are
 * independent. Each counts up to `clip` in sums, so that one token cannot carry a verdict by itself; it has a limit of its own.
 */
const MEASURES = {
  margin: { clip: 1, meanFactor: 2, deviations: 8 },
  surprise: { clip: 12, meanFactor: 1, deviations: 8 },
} as const;
/** A single margin may be so many times the largest that was measured. */
const SINGLE_FACTOR = 1.5;
/** Below this, rounding alone moves a draw across an edge. */
const LEAST_SINGLE = 0.005;

/** Margins of the tokens of honest answers. */
const Noise = z.strictObject({
  measure: z.enum(['margin', 'surprise']).default('margin'),
  tokens: z.number().int().min(1),
  /** Of the clipped margins of single tokens. */
  mean: z.number().min(0),
  deviation: z.number().min(0),
  largest: z.number().min(0),
  /** How many tokens had margins in each of these ranges; the last is open. */
  histogram: z.array(z.strictObject({ from: z.number().min(0), tokens: z.number().int().min(0) })).max(40),
});
export type Noise = z.infer<typeof Noise>;

/** What honest machines were measured to do, by `countersign calibrate`; kept with the thresholds that follow from it. */
export const Calibration = z.strictObject({
  version: z.literal(1),
  model: z.strictObject({ name: z.string(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  engine: z.strictObject({ name: z.string(), version: z.string() }),
  measuredAt: z.iso.datetime(),
  /** Machines and settings that made the answers, in words. */
  conditions: z.array(z.string().max(200)).max(100),
  jobs: z.number().int().min(1),
  /** At temperature 0, where only near ties differ. */
  greedy: Noise,
  sampled: Noise,
});
export type Calibration = z.infer<typeof Calibration>;

export interface TokensResult {
  readonly properties: Property[];
  readonly refusals: Refusal[];
  readonly measured: { readonly tokens: number; readonly margin: number; readonly limit: number };
}

/** The largest sum of clipped margins that an honest answer of this many tokens has, and the largest single one. */
export function limitsOf(
  { measure, mean, deviation, largest }: Noise,
  tokens: number,
): { sum: number; single: number } {
  const single = Math.max(LEAST_SINGLE, SINGLE_FACTOR * largest);
  const { clip, meanFactor, deviations } = MEASURES[measure];
  const noise = deviations * deviation * Math.sqrt(tokens);
  return { sum: meanFactor * tokens * mean + noise + Math.min(clip, single), single };
}

export function sumOfMargins(margins: readonly number[], { measure }: Pick<Noise, 'measure'>): number {
  const { clip } = MEASURES[measure];
  return margins.reduce((sum, margin) => sum + Math.min(margin, clip), 0);
}

/** What a number of honest replays say. */
export function noiseOf(replays: readonly (readonly number[])[], measure: Noise['measure'] = 'margin'): Noise {
  const margins = replays.flat();
  const clipped = margins.map((margin) => Math.min(margin, MEASURES[measure].clip));
  const mean = clipped.reduce((sum, margin) => sum + margin, 0) / margins.length;
  const variance = clipped.reduce((sum, margin) => sum + (margin - mean) ** 2, 0) / margins.length;
  const edges =
    measure === 'margin'
      ? [0, ...Array.from({ length: 12 }, (_, at) => 10 ** (at / 2 - 5.5))]
      : Array.from({ length: 14 }, (_, at) => at);
  return {
    measure,
    tokens: margins.length,
    mean,
    deviation: Math.sqrt(variance),
    largest: margins.reduce((largest, margin) => Math.max(largest, margin), 0),
    histogram: edges.map((from, at) => ({
      from,
      tokens: margins.filter((margin) => margin >= from && margin < (edges[at + 1] ?? Infinity)).length,
    })),
  };
}

/**
 * Replays an answer. `stored` are the bytes of the token ids that the evidence names, or undefined where there are none.
 * Throws EngineError where this attestor's engine fails; the case is then for later.
 */
export async function checkTokens(
  engine: Engine & Required<Pick<Engine, 'replay'>>,
  calibration: Calibration,
  ticket: Ticket,
  evidence: Evidence,
  input: unknown,
  output: string,
  stored: Buffer | undefined,
  signal: AbortSignal,
): Promise<TokensResult> {
  const nothing = { tokens: 0, margin: 0, limit: 0 };
  const named = evidence.predicate.tokens;
  if (named === undefined || stored === undefined)
    return { properties: [], refusals: ['TOKENS_MISSING'], measured: nothing };
  if (sha256Hex(stored) !== named.sha256 || stored.length !== 4 * evidence.predicate.usage.outputTokens)
    return { properties: [], refusals: ['TOKENS_MISMATCH'], measured: nothing };
  const replay = await engine.replay(workOf(ticket), input, decodeTokens(stored), signal);
  const noise = ticket.predicate.params.temperature === 0 ? calibration.greedy : calibration.sampled;
  const { sum, single } = limitsOf(noise, replay.margins.length);
  const margin = sumOfMargins(replay.margins, noise);
  const measured = { tokens: replay.margins.length, margin, limit: sum };
  const refusals: Refusal[] = [
    ...(isSameAnswer(replay, evidence, output) ? [] : (['TOKENS_TEXT_DIFFERS'] as const)),
    ...(replay.isWhole ? [] : (['TOKENS_NOT_WHOLE'] as const)),
    ...(margin <= sum ? [] : (['TOKENS_UNLIKELY'] as const)),
    ...(replay.margins.every((one) => one <= single) ? [] : (['TOKEN_OUT_OF_PLACE'] as const)),
  ];
  if (refusals.length > 0) return { properties: [], refusals, measured };
  return { properties: ['USAGE_RECOUNTED', 'TOKENS_REPLAYED'], refusals, measured };
}

function isSameAnswer({ result }: Replay, { predicate }: Evidence, output: string): boolean {
  return (
    result.output === output &&
    result.finishReason === predicate.finishReason &&
    result.usage.inputTokens === predicate.usage.inputTokens &&
    result.usage.outputTokens === predicate.usage.outputTokens
  );
}

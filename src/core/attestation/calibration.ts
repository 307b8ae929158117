import { z } from 'zod';

/**
 * How margins are judged. `margin` is one of logits, and nearly always 0; its noise comes in runs, so that
 * the limit is wider than chance alone needs. `surprise` is one of drawn tokens under a reference whose
 * sampler is not known; honest ones have a mean near 1 whatever the text, and the draws are independent. Each
 * margin counts up to `clip` in sums, so that one token cannot carry a verdict by itself; a single margin has
 * a limit of its own.
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

/**
 * What honest machines were measured to do, by `countersign calibrate`; kept with the thresholds that follow
 * from it.
 */
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

/**
 * The largest sum of clipped margins that an honest answer of this many tokens has, and the largest single
 * one.
 */
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

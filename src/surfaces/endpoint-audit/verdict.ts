import { limitsOf, noiseOf, sumOfMargins, type Noise } from '../../core/attestation/calibration.ts';

/** The margins of one answer's tokens, and the temperature at which it was asked for. */
export interface Judged {
  readonly temperature: number;
  readonly margins: readonly number[];
}

/** What honest servers of the model do. */
export interface AuditNoise {
  /** At temperature 0. */
  readonly greedy: Noise;
  /** Above. */
  readonly sampled: Noise;
}

/** All answers of one kind together: the sum of their margins, and what it may be. */
export interface Sum {
  readonly answers: number;
  readonly tokens: number;
  readonly sum: number;
  readonly limit: number;
}

export interface AuditVerdict {
  /** Whether the answers are what the reference's model says, within the noise of honest servers. */
  readonly isConsistent: boolean;
  readonly greedy: Sum;
  readonly sampled: Sum;
  /** The places of answers that exceed the limit of their own length, in the order of the answers. */
  readonly beyond: number[];
}

/**
 * Two honest servers of unlike machines differ by as much at near ties, although one of them may repeat
 * itself exactly. It stands in for a second machine where the noise was measured on one.
 */
export const UNLIKE_MACHINES = { mean: 5e-4, deviation: 0.01, largest: 0.3 } as const;

/** From fewer tokens that differ, nobody can say how much two machines do. */
const FEWEST_NEAR_TIES = 10;

/** What these honest answers say; those of one machine alone are given the room of unlike ones. */
export function noiseFrom(honest: readonly Judged[], { isOneMachine }: { isOneMachine: boolean }): AuditNoise {
  const margins = (isGreedy: boolean) =>
    honest.filter(({ temperature }) => (temperature === 0) === isGreedy).map((one) => one.margins);
  const greedy = noiseOf(margins(true));
  const sampled = noiseOf(margins(false), 'surprise');
  const different = margins(true)
    .flat()
    .filter((margin) => margin > 0).length;
  if (!isOneMachine && different >= FEWEST_NEAR_TIES) return { greedy, sampled };
  const { mean, deviation, largest } = UNLIKE_MACHINES;
  return {
    sampled,
    greedy: {
      ...greedy,
      mean: Math.max(greedy.mean, mean),
      deviation: Math.max(greedy.deviation, deviation),
      largest: Math.max(greedy.largest, largest),
    },
  };
}

/**
 * Judges answers by the limits of the method `tokens`: each by itself, and all of a kind together. What a
 * near quantisation does to one answer is within the noise; what it does to thousands of tokens is not. A
 * single token counts up to its bound and is never judged alone, because of so many some are far out.
 */
export function judgeAudit(answers: readonly Judged[], noise: AuditNoise): AuditVerdict {
  const noiseFor = ({ temperature }: Judged) => (temperature === 0 ? noise.greedy : noise.sampled);
  const sumOver = (isGreedy: boolean): Sum => {
    const own = answers.filter(({ temperature }) => (temperature === 0) === isGreedy);
    const margins = own.flatMap((one) => one.margins);
    const measured = isGreedy ? noise.greedy : noise.sampled;
    const limit = margins.length === 0 ? 0 : limitsOf(measured, margins.length).sum;
    return { answers: own.length, tokens: margins.length, sum: sumOfMargins(margins, measured), limit };
  };
  const [greedy, sampled] = [sumOver(true), sumOver(false)];
  const beyond = answers.flatMap((one, at) => {
    const { sum } = limitsOf(noiseFor(one), one.margins.length);
    return sumOfMargins(one.margins, noiseFor(one)) > sum ? [at] : [];
  });
  const isConsistent = greedy.sum <= greedy.limit && sampled.sum <= sampled.limit && beyond.length === 0;
  return { isConsistent, greedy, sampled, beyond };
}

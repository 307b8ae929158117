import { describe, expect, test } from '@jest/globals';
import { IS_LONG } from '../../../test/support/thorough.ts';
import { ToyModel, drawsOf, playedMargins, type Drawing } from '../../../test/support/toy-model.ts';
import { judgeAudit, noiseFrom, type Judged } from './verdict.ts';

/** So much do the logits of an honest machine differ from those of another. */
const HONEST = 0.03;
/** As much as four bits in place of sixteen do: a divergence of some 0.03. */
const QUANTISED = 0.25;
const AUDITS = IS_LONG ? 3_500 : 20;

const model = ToyModel.of(1);
const draw = drawsOf(IS_LONG ? 4 : Date.now());

/** The answers that an audit of this size reads: half of them at temperature 0. */
function answersOf(served: ToyModel, drawing: Drawing, [answers, tokens]: readonly [number, number]): Judged[] {
  return Array.from({ length: answers }, (_, at) => {
    const prompt = [Math.floor(64 * draw()), Math.floor(64 * draw())];
    const temperature = at % 2 === 0 ? 0 : 1;
    return { temperature, margins: playedMargins(model, served, drawing, { prompt, temperature, tokens }, draw) };
  });
}

const SMALL = [24, 48] as const;
const USUAL = [48, 128] as const;

const noiseOfReference = (size: readonly [number, number]) =>
  noiseFrom(answersOf(model, {}, size), { isOneMachine: true });
const noiseOfHonest = (size: readonly [number, number]) =>
  noiseFrom(answersOf(model, { noise: HONEST }, size), { isOneMachine: false });

describe('the verdict of an audit', () => {
  // No alarm in 3,500 honest audits: fewer than one in a thousand, with 97 % confidence.
  test.each([
    ['of the reference alone', noiseOfReference],
    ['of a second honest server', noiseOfHonest],
  ])('raises no false alarm, where the noise is that %s', (_, noiseOf) => {
    let alarms = 0;
    for (let at = 0; at < AUDITS; at += 1) {
      const noise = noiseOf(SMALL);
      if (!judgeAudit(answersOf(model, { noise: HONEST }, SMALL), noise).isConsistent) alarms += 1;
    }
    expect(alarms).toBe(0);
  });

  test.each([
    ['another model', ToyModel.of(2), {}],
    ['a near quantisation', model.near(QUANTISED, 3), { noise: HONEST }],
    ['a hotter sampler', model, { noise: HONEST, hotter: 0.3 }],
  ])('finds %s every time, at the usual size', (_, served, drawing) => {
    for (let at = 0; at < (IS_LONG ? 100 : 2); at += 1) {
      const noise = noiseOfReference(USUAL);
      expect(judgeAudit(answersOf(served, drawing, USUAL), noise).isConsistent).toBe(false);
    }
  });

  test('names the answers that are beyond their limit by themselves', () => {
    const noise = noiseOfReference(USUAL);
    const honest = answersOf(model, {}, [8, 64]);
    const [other] = answersOf(ToyModel.of(2), {}, [1, 64]);
    if (other === undefined) throw new Error('no answer');
    expect(judgeAudit([...honest, other], noise)).toMatchObject({ isConsistent: false, beyond: [8] });
  });
});

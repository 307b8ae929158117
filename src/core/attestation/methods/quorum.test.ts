import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { countVotes, type Vote } from './quorum.ts';

const votesOf = (outputs: readonly string[]): Vote[] =>
  outputs.map((outputSha256, at) => ({
    epoch: at + 1,
    worker: `w${at}`,
    operator: `o${at}`,
    evidenceSha256: `e${at}`,
    outputSha256,
  }));

const wanted = fc
  .integer({ min: 2, max: 5 })
  .chain((of) => fc.record({ of: fc.constant(of), agree: fc.integer({ min: Math.floor(of / 2) + 1, max: of }) }));

describe('countVotes', () => {
  test('counting stops with an answer or without one, and by the last worker that may be asked', () => {
    fc.assert(
      fc.property(
        wanted,
        fc.array(fc.constantFrom('x', 'y', 'z'), { minLength: 5, maxLength: 5 }),
        (quorum, outputs) => {
          const votes = votesOf(outputs);
          for (const [at, vote] of votes.entries()) {
            const outcome = countVotes(quorum, votes.slice(0, at), vote);
            const same = outputs.slice(0, at + 1).filter((output) => output === vote.outputSha256).length;
            expect(outcome.kind === 'agreed').toBe(same >= quorum.agree);
            if (outcome.kind !== 'open') return;
            expect(at + 1).toBeLessThan(quorum.of);
          }
        },
      ),
    );
  });

  test('only the votes for this answer are named', () => {
    const [a, b, c] = votesOf(['x', 'y', 'x']);
    if (a === undefined || b === undefined || c === undefined) throw new Error('three votes');
    expect(countVotes({ of: 3, agree: 2 }, [a, b], c)).toEqual({ kind: 'agreed', votes: [a, c] });
  });

  test('a second vote of an operator or of a worker does not count', () => {
    const [first, second] = votesOf(['x', 'x']);
    if (first === undefined || second === undefined) throw new Error('two votes');
    for (const twin of [
      { ...second, operator: first.operator },
      { ...second, worker: first.worker },
    ])
      expect(countVotes({ of: 2, agree: 2 }, [first], twin)).toEqual({ kind: 'same_operator' });
  });
});

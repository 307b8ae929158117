import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { standingIn, standingText } from './pool-state.ts';

test('a standing is read back as it was written', () => {
  const standings = fc.record({
    state: fc.constantFrom('paused' as const, 'draining' as const),
    sinceMs: fc.integer({ min: 0, max: 999_999_999_999_999 }),
    by: fc.stringMatching(/^[0-9a-z]{1,40}$/),
  });
  fc.assert(
    fc.property(standings, (standing) => {
      const text = standingText(standing);
      expect(standingIn(text)).toEqual(standing);
      // The scripts know a pool by this.
      expect(text.startsWith(`${standing.state} `)).toBe(true);
    }),
  );
});

test('whatever else stands there leaves the pool open', () => {
  for (const text of [
    '',
    'open',
    'paused',
    'paused  x',
    'paused 1',
    'pausedx 1 cli',
    'draining -1 cli',
    'paused 1e3 cli',
  ])
    expect(standingIn(text)).toBeUndefined();
  fc.assert(
    fc.property(fc.string(), (text) => {
      fc.pre(!/^(paused|draining) /.test(text));
      expect(standingIn(text)).toBeUndefined();
    }),
  );
});

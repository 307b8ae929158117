import { describe, expect, test } from '@jest/globals';
import { PLANTED_BUGS } from './planted-bugs.ts';
import { SCENES, played, type SceneName } from './scenes.ts';

const NAMES = Object.keys(SCENES) as SceneName[];

describe('a scene in which nothing is wrong', () => {
  test.each(NAMES)(
    '%s: nothing is violated, and its fault has happened',
    async (name) => {
      const { violations, happened } = await played(name);
      expect(violations).toEqual([]);
      // One that did not happen has shown nothing.
      expect(Math.min(...Object.values(happened))).toBeGreaterThan(0);
    },
    300_000,
  );
});

describe('a planted bug', () => {
  test.each(PLANTED_BUGS.map((bug) => [bug.name, bug] as const))(
    '%s: is FOUND',
    async (_, { scene, edits, foundBy }) => {
      const { violations } = await played(scene, edits);
      expect(violations).toContainEqual(expect.stringMatching(foundBy));
    },
    300_000,
  );
});

import { describe, expect, test } from '@jest/globals';
import { runScenario, type Fault } from './scenario.ts';

/** A seed that failed is tried again with COUNTERSIGN_TEST_SEED. */
const SEED = Number(process.env['COUNTERSIGN_TEST_SEED'] ?? Date.now() % 1_000_000);
/** Fewer than a tile of the log has: what was logged is counted in its tail. */
const USUAL = { seed: SEED, jobs: 60, perSecond: 6, settleMs: 120_000 };

describe(`faults, seed ${SEED}`, () => {
  test.each<[string, readonly Fault[]]>([
    ['workers are killed', ['worker killed']],
    ['Redis is killed and comes back', ['redis killed']],
  ])(
    '%s: nothing is lost, doubled or changed',
    async (_, faults) => {
      const { violations, happened } = await runScenario({ ...USUAL, faults });
      expect(violations).toEqual([]);
      // One that did not happen has shown nothing.
      expect(Math.min(...Object.values(happened))).toBeGreaterThan(0);
    },
    600_000,
  );
});

import { expect, test } from '@jest/globals';
import { drainMsOf } from './drain-time.ts';

test.each([
  ['SIGTERM', {}, 0],
  ['SIGTERM', { COUNTERSIGN_DRAIN_MS: 300_000 }, 300_000],
  ['SIGTERM', { COUNTERSIGN_DRAIN_MS: 1_000, COUNTERSIGN_DRAIN_ON: 'SIGTERM' }, 86_400_000],
  ['SIGINT', { COUNTERSIGN_DRAIN_MS: 1_000, COUNTERSIGN_DRAIN_ON: 'SIGTERM' }, 1_000],
  [undefined, { COUNTERSIGN_DRAIN_MS: 1_000 }, 1_000],
])('stopped by %s with %j, work may take %d ms to end', (signal, config, ms) => {
  expect(drainMsOf(config, signal)).toBe(ms);
});

import { describe, expect, test } from '@jest/globals';
import { loseMaster } from '../support/failover.ts';
import { SentinelSet } from '../support/redis-set.ts';

describe('a master that says nothing any more', () => {
  // Its machine has lost its power: no connection is ever reset, and nobody is told.
  test('is left by every role for the one that sentinels made, and every job ends once', async () => {
    await using set = await SentinelSet.start();
    expect(await loseMaster(set, 'SIGSTOP')).toEqual([]);
  });
});

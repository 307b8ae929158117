import { describe, expect, test } from '@jest/globals';
import { loseMaster } from '../support/failover.ts';
import { SentinelSet } from '../support/redis-set.ts';

describe('with a master that sentinels watch', () => {
  test('every role comes back by itself when the master was killed under load, and every job kept ends once', async () => {
    await using set = await SentinelSet.start();
    expect((await loseMaster(set, 'SIGKILL')).length).toBeLessThan(20);
  });
});

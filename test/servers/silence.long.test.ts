import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { Callers, endOnce } from '../support/failover.ts';
import { Pipeline, until } from '../support/pipeline.ts';
import { SENTINEL_PASSWORD, SentinelSet } from '../support/redis-set.ts';

describe('a master that says nothing any more', () => {
  // Its machine has lost its power: no connection is ever reset, and nobody is told.
  test('is left by every role for the one that sentinels made, and every job ends once', async () => {
    await using set = await SentinelSet.start();
    await using pipeline = Pipeline.over(set);
    const passwordFile = join(pipeline.folder, 'sentinel.password');
    writeSecretFile(passwordFile, SENTINEL_PASSWORD);
    const env = { COUNTERSIGN_SENTINEL_PASSWORD_FILE: passwordFile };
    await Promise.all([pipeline.api(env), pipeline.worker(1, env), pipeline.attestor(env), pipeline.courier(env)]);
    const client = await pipeline.client();
    const callers = new Callers(client, 'silence');
    await callers.more(20);
    const first = await set.master();
    first.signal('SIGSTOP');
    await until(async () => (await set.master()) !== first);
    await callers.more(40);
    await callers.stop();
    const lost = await endOnce(pipeline, client, callers.accepted);
    expect([...callers.refused.keys()].filter((status) => status !== 503)).toEqual([]);
    expect(pipeline.running()).toHaveLength(4);
    expect(lost).toEqual([]);
  });
});

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { Callers, endOnce } from '../support/failover.ts';
import { Pipeline, until } from '../support/pipeline.ts';
import { SENTINEL_PASSWORD, SentinelSet } from '../support/redis-set.ts';

let set: SentinelSet;
beforeAll(async () => {
  set = await SentinelSet.start();
});
afterAll(async () => set[Symbol.asyncDispose]());

describe('with a master that sentinels watch', () => {
  test('every role comes back by itself when the master was killed under load, and every job kept ends once', async () => {
    await using pipeline = Pipeline.over(set);
    const passwordFile = join(pipeline.folder, 'sentinel.password');
    writeSecretFile(passwordFile, SENTINEL_PASSWORD);
    const env = { COUNTERSIGN_SENTINEL_PASSWORD_FILE: passwordFile };
    await Promise.all([pipeline.api(env), pipeline.worker(1, env), pipeline.attestor(env), pipeline.courier(env)]);
    const client = await pipeline.client();
    const callers = new Callers(client, 'sentinel');
    await callers.more(20);
    const first = await set.master();
    first.signal('SIGKILL');
    await until(async () => (await set.master()) !== first);
    await callers.more(40);
    await callers.stop();
    const lost = await endOnce(pipeline, client, callers.accepted);
    expect([...callers.refused.keys()].filter((status) => status !== 503)).toEqual([]);
    expect(pipeline.running()).toHaveLength(4);
    expect(lost.length).toBeLessThan(20);
  });
});

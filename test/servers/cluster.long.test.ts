import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { DataFolder } from '../../src/roles/cli/data-folder.ts';
import { prepare } from '../../src/roles/cli/set-up.ts';
import { Callers, endOnce } from '../support/failover.ts';
import { Pipeline, until } from '../support/pipeline.ts';
import { PASSWORD, ROOT } from '../support/redis.ts';
import { RedisCluster } from '../support/redis-set.ts';

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await RedisCluster.start();
});
afterAll(async () => cluster[Symbol.asyncDispose]());

describe('on a Redis Cluster of three masters and their replicas', () => {
  test('a connection is to the master of the shard, whichever node it asked first', async () => {
    const holder = await cluster.holder();
    const redis = cluster.client('api');
    expect((await redis.info('server')).match(/tcp_port:(\d+)/)?.[1]).toBe(String(holder.port));
  });

  test('a pool is cut and added on every node, as any of them may become the master', async () => {
    const data = new DataFolder(mkdtempSync(join(tmpdir(), 'cs-pools-')));
    writeSecretFile(data.redisPassword('admin'), PASSWORD);
    prepare(data, 1);
    const pools = (...args: string[]) =>
      promisify(execFile)(
        process.execPath,
        [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), '--data', data.path, 'pools', ...args],
        { env: { PATH: process.env['PATH'] ?? '', HOME: data.path, COUNTERSIGN_REDIS_URL: cluster.url } },
      );
    const users = (pattern: RegExp) =>
      Promise.all(
        cluster.nodes.map((node) =>
          node.ask(async (redis) => (await redis.acl('LIST')).filter((line) => pattern.test(line)).length),
        ),
      );
    await pools('add', 'fresh');
    expect(await users(/^user worker\.fresh on /)).toEqual([1, 1, 1, 1, 1, 1]);
    await pools('cut', 'fresh');
    expect(await users(/^user worker\.fresh off /)).toEqual([1, 1, 1, 1, 1, 1]);
    rmSync(data.path, { recursive: true, force: true });
  });

  test('the whole pipeline runs, and goes on at the replica of a master that was killed under load', async () => {
    await using pipeline = Pipeline.over(cluster);
    await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.attestor(), pipeline.courier()]);
    const client = await pipeline.client();
    const callers = new Callers(client, 'cluster');
    await callers.more(20);
    const first = await cluster.holder();
    first.signal('SIGKILL');
    const witness = cluster.nodes.findIndex((node) => node !== first);
    await until(async () => (await cluster.holder(witness)) !== first);
    await callers.more(40);
    await callers.stop();
    const lost = await endOnce(pipeline, client, callers.accepted);
    expect([...callers.refused.keys()].filter((status) => status !== 503)).toEqual([]);
    expect(pipeline.running()).toHaveLength(4);
    expect(lost.length).toBeLessThan(20);
  });
});

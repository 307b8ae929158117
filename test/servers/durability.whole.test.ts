import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { Durability } from '../../src/ground/redis/durability.ts';
import { requireFitRedis } from '../../src/ground/redis/requirements.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';
import { SENTINEL_PASSWORD, SentinelSet, type Node } from '../support/redis-set.ts';

let set: SentinelSet;
let replicas: Node[];
beforeAll(async () => {
  set = await SentinelSet.start(['appendfsync everysec']);
  replicas = set.nodes.slice(1, 3);
});
afterEach(() => replicas.forEach((replica) => replica.signal('SIGCONT')));
afterAll(async () => set[Symbol.asyncDispose]());

const replicated = (count: number) => new Durability({ kind: 'replicas', count });
const waits = async (admin: Redis) =>
  Number(/cmdstat_wait:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0);

describe('a write that waits for replicas', () => {
  test('is settled when so many have it, and is not when one of them says nothing', async () => {
    const writer = set.client('api');
    await writer.set(set.keys.tenant('a'), 'x');
    await replicated(2).settled(writer);
    replicas[0]?.signal('SIGSTOP');
    await writer.set(set.keys.tenant('a'), 'y');
    await replicated(1).settled(writer);
    await expect(replicated(2).settled(writer)).rejects.toMatchObject({ code: 'not_durable', status: 503 });
  });

  test('shares one WAIT with all that came while another was under way', async () => {
    const [writer, admin, durability] = [set.client('api'), set.client(), replicated(2)];
    const before = await waits(admin);
    await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        await writer.set(set.keys.tenant('a'), n);
        await durability.settled(writer);
      }),
    );
    expect((await waits(admin)) - before).toBeLessThan(100);
  });

  test('is not settled by a connection that was made after it', async () => {
    const [writer, admin] = [set.client('api'), set.client()];
    replicas[0]?.signal('SIGSTOP');
    await writer.set(set.keys.tenant('a'), 'z');
    const id = await writer.client('ID');
    const settled = replicated(2).settled(writer);
    await admin.client('KILL', 'ID', id);
    await expect(settled).rejects.toMatchObject({ code: 'not_durable' });
  });

  test('of a job is answered 202 when it is settled, else 503, and again under the same key', async () => {
    const pipeline = Pipeline.over(set);
    const passwordFile = join(pipeline.folder, 'sentinel.password');
    writeSecretFile(passwordFile, SENTINEL_PASSWORD);
    const api = await pipeline.api({
      COUNTERSIGN_SENTINEL_PASSWORD_FILE: passwordFile,
      COUNTERSIGN_DURABILITY: 'replicas:2',
    });
    const client = await pipeline.client();
    const submit = async (key: string) => {
      const response = await client.post('/v1/jobs', completion(key), { 'idempotency-key': `"${key}"` });
      return { status: response.status, ...((await response.json()) as { id?: string; code?: string }) };
    };
    expect(await submit('first')).toMatchObject({ status: 202 });
    replicas[0]?.signal('SIGSTOP');
    expect(await submit('second')).toMatchObject({ status: 503, code: 'not_durable' });
    expect(await submit('second')).toMatchObject({ status: 503, code: 'not_durable' });
    replicas[0]?.signal('SIGCONT');
    const kept = await until(async () => {
      const answer = await submit('second');
      return answer.status === 202 && answer;
    });
    expect(await set.client().zcard(set.keys.open)).toBe(2);
    expect(kept.id).toMatch(/^job_/);
    api.process.kill('SIGKILL');
  });
});

describe('a server whose disk lags behind what is promised', () => {
  test('is refused by who may see it, with what to set; a role that may not see it is told so by doctor', async () => {
    const always = { durability: { kind: 'always' } as const };
    await expect(requireFitRedis(set.client(), always)).rejects.toThrow(/appendfsync everysec: Set appendfsync always/);
    await expect(requireFitRedis(set.client(), { durability: { kind: 'everysec' } })).resolves.toBeUndefined();
    await expect(requireFitRedis(set.client('api'), always)).resolves.toBeUndefined();
  });
});

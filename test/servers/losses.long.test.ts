import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { Callers } from '../support/failover.ts';
import { Pipeline, completion, until, type Client } from '../support/pipeline.ts';
import { SENTINEL_PASSWORD, SentinelSet, type Node } from '../support/redis-set.ts';

/** Failovers with each setting; the suite has some twenty of them together. */
const ROUNDS = 7;
/** More than all socket buffers between a master and a replica hold. */
const FILLER_BYTES = 16 * 1024 * 1024;
const FILLERS = 4;

/** An API over a set of servers, and a count of jobs that it accepted and does not know any more. */
async function serve(
  set: SentinelSet,
  durability: string,
): Promise<{ pipeline: Pipeline<SentinelSet>; client: Client }> {
  const pipeline = Pipeline.over(set);
  const passwordFile = join(pipeline.folder, 'sentinel.password');
  writeSecretFile(passwordFile, SENTINEL_PASSWORD);
  await pipeline.api({ COUNTERSIGN_SENTINEL_PASSWORD_FILE: passwordFile, COUNTERSIGN_DURABILITY: durability });
  return { pipeline, client: await pipeline.client() };
}

async function lost(client: Client, jobs: readonly string[]): Promise<number> {
  let count = 0;
  for (const id of jobs) {
    const status = await until(async () => {
      const response = await client.fetch(`/v1/jobs/${id}`).catch(() => undefined);
      await response?.text();
      return response !== undefined && response.status < 500 && response.status;
    });
    if (status === 404) count += 1;
  }
  return count;
}

async function failOver(set: SentinelSet): Promise<Node> {
  const master = await set.master();
  master.signal('SIGKILL');
  await until(async () => (await set.master()) !== master);
  return master;
}

describe('what a failover takes of the jobs that were answered 202', () => {
  test.each([
    ['everysec', 'everysec'],
    ['always', 'always'],
    ['replicas:1', 'everysec'],
  ])('under load, with COUNTERSIGN_DURABILITY=%s', async (durability, appendfsync) => {
    await using set = await SentinelSet.start([`appendfsync ${appendfsync}`]);
    const { pipeline, client } = await serve(set, durability);
    await using _ = pipeline;
    let [accepted, missing] = [0, 0];
    for (let round = 0; round < ROUNDS; round += 1) {
      const callers = new Callers(client, `${durability}-${round}`);
      await callers.more(30);
      const old = await failOver(set);
      await callers.more(10);
      await callers.stop();
      accepted += callers.accepted.length;
      missing += await lost(client, callers.accepted);
      old.start();
      await until(async () => (await old.ask((redis) => redis.info('replication'))).includes('master_link_status:up'));
    }
    process.stderr.write(`${durability}: ${missing} of ${accepted} accepted jobs lost by ${ROUNDS} failovers\n`);
    if (durability === 'replicas:1') expect(missing).toBe(0);
    else expect(missing).toBeLessThan(ROUNDS * 4);
  });

  test.each([
    ['everysec', { answered: 202, kept: false }],
    ['replicas:1', { answered: 503, kept: false }],
  ])('whose replicas lag, with COUNTERSIGN_DURABILITY=%s', async (durability, { answered, kept }) => {
    await using set = await SentinelSet.start(['appendfsync everysec']);
    const { pipeline, client } = await serve(set, durability);
    await using _ = pipeline;
    const admin = set.client();
    const replicas = set.nodes.slice(1, 3);
    for (const replica of replicas) replica.signal('SIGSTOP');
    // What is written after this stays with the master, as on a network that is slower than the load.
    for (let n = 0; n < FILLERS; n += 1) await admin.set(`{cs}:filler:${n}`, Buffer.alloc(FILLER_BYTES));
    const answer = await client.post('/v1/jobs', completion('lagging'), { 'idempotency-key': '"lagging"' });
    expect(answer.status).toBe(answered);
    const master = await set.master();
    master.signal('SIGKILL');
    for (const replica of replicas) replica.signal('SIGCONT');
    await until(async () => (await set.master()) !== master);
    const again = await until(async () => {
      const response = await client.fetch('/v1/jobs').catch(() => undefined);
      return response?.ok === true && ((await response.json()) as { jobs: unknown[] });
    });
    expect(again.jobs.length > 0).toBe(kept);
  });
});

import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { CrashingBuild } from '../support/crashing-build.ts';
import { Pipeline, completion, until, type Client, type Role } from '../support/pipeline.ts';
import { childrenOf } from '../support/processes.ts';
import { ROOT } from '../support/redis.ts';

/** An attestor whose engine ends its process at certain prompts, and an honest worker. */
let build: CrashingBuild;
let pipeline: Pipeline;
let attestor: Role;
let client: Client;

interface Stuck {
  readonly jobs: { id: string; tenant: string; failures: number; cause: string; since: string; next_try: string }[];
}

beforeAll(async () => {
  build = new CrashingBuild();
  pipeline = await Pipeline.prepare();
  await Promise.all([pipeline.api(), pipeline.worker(1)]);
  attestor = await pipeline.run('attestor', 'attestor', pipeline.environment('attestor'), build.dist);
  client = await pipeline.client('operator');
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  build[Symbol.dispose]();
});

const child = () => {
  const [pid] = childrenOf(attestor.process.pid ?? 0, 'engine-process');
  return pid;
};
const checked = { attestation: { recompute: 1 } };

describe('a case at which the child that computes again dies', () => {
  test('is put aside and shown, holds up no other, and ends at its deadline', async () => {
    const doomed = await client.submit(completion('please CRASH', { ...checked, deadline_ms: 15_000 }));
    const stuck = await until(async () => (await client.json<Stuck>('/v1/admin/jobs/stuck')).jobs[0]);
    expect(stuck).toMatchObject({ id: doomed.id, tenant: 'operator' });
    expect(['engine_died', 'engine_away']).toContain(stuck.cause);
    expect(Date.parse(stuck.next_try)).toBeGreaterThan(Date.parse(stuck.since));
    expect(await (await fetch(`${pipeline.url}/metrics/shard`)).text()).toMatch(/^countersign_stuck_jobs 1$/m);
    expect(attestor.stderr()).toContain('is put aside');

    // The attestor goes on: what needs no computation at once, what needs it when the child is back.
    expect((await client.run(completion('quick', { attestation: { recompute: 0 } }))).state).toBe('done');
    const others = await Promise.all([1, 2, 3].map((n) => client.run(completion(`other ${n}`, checked))));
    expect(others.map(({ state }) => state)).toEqual(['done', 'done', 'done']);

    const keyFile = join(pipeline.folder, 'cli.key');
    writeSecretFile(keyFile, client.key);
    const said = spawnSync(
      process.execPath,
      [join(ROOT, 'dist/roles/cli/main.js'), 'jobs', 'stuck', '--url', pipeline.url, '--key-file', keyFile],
      { encoding: 'utf8' },
    );
    expect(said.stderr).toBe('');
    if (said.stdout.includes('failed')) expect(said.stdout).toContain(`${doomed.id}  operator  since `);

    const ended = await client.ended(doomed.id);
    expect(ended.state).toBe('expired');
    expect((await client.json<Stuck>('/v1/admin/jobs/stuck')).jobs).toEqual([]);
    const admin = pipeline.redis.client();
    await until(async () => (await admin.exists(pipeline.redis.keys.asideWhy)) === 0);
    expect((await client.run(completion('afterwards', checked))).state).toBe('done');
  });

  test('where somebody else kills the child in the middle of it, is confirmed when the child is back', async () => {
    const pid = await until(child);
    process.kill(pid, 'SIGSTOP');
    const killed = await client.submit(completion('killed', checked));
    await until(async () => (await client.job(killed.id)).state === 'attesting');
    process.kill(pid, 'SIGKILL');
    expect((await client.ended(killed.id)).state).toBe('done');
    expect(await until(child)).not.toBe(pid);
  });

  test('the child knows no key: neither in its environment nor among its open files', async () => {
    const pid = await until(child);
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
    const names = environment.map((line) => line.split('=')[0]);
    expect(names.toSorted()).toEqual([
      'COUNTERSIGN_CATALOG',
      'COUNTERSIGN_ENGINE_MODELS',
      'COUNTERSIGN_ENGINE_REFERENCES',
      'HOME',
      'PATH',
    ]);
    for (const secret of ['key', 'password', 'redis'])
      expect(environment.join(' ').toLowerCase()).not.toContain(secret);
    const open = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    });
    expect(open.filter((file) => file.startsWith(pipeline.folder))).toEqual([]);
    // Standard error, the pipe to the attestor, and what Node opens for itself.
    expect(open.filter((file) => file.startsWith('socket:')).length).toBeLessThanOrEqual(2);
  });

  test('a job may be listed as stuck by nobody but the operator', async () => {
    const key = await pipeline.key('acme', ['submit', 'read']);
    const answer = await fetch(`${pipeline.url}/v1/admin/jobs/stuck`, { headers: { authorization: `Bearer ${key}` } });
    expect(answer.status).toBe(403);
  });

  test('the attestor leaves in time, and its child with it', async () => {
    const pid = await until(child);
    attestor.process.kill('SIGTERM');
    expect(await attestor.exited).toBe(0);
    await until(() => !readdirSync('/proc').includes(String(pid)));
  });
});

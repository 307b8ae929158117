import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { KJV_MODEL, Pipeline } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';

let pipeline: Pipeline;
let key: string;

beforeAll(async () => {
  pipeline = await Pipeline.start({
    models: [KJV_MODEL],
    workers: 1,
    couriers: 1,
    env: { 'api:COUNTERSIGN_WEBHOOK_PRIVATE': 'allow', 'courier:COUNTERSIGN_WEBHOOK_PRIVATE': 'allow' },
  });
  key = await pipeline.key();
});
afterAll(() => pipeline[Symbol.asyncDispose]());

async function run(name: string): Promise<string> {
  const child = spawn(process.execPath, [join(ROOT, 'examples', name)], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'] ?? '',
      COUNTERSIGN_URL: pipeline.url,
      COUNTERSIGN_KEY: key,
      COUNTERSIGN_KEYRING_FILE: join(pipeline.folder, 'keyring.json'),
    },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (said += piece.toString()));
  const code = await new Promise((resolve) => child.once('exit', resolve));
  expect([code, code === 0 ? '' : said]).toEqual([0, '']);
  return said;
}

describe('the examples do what they say', () => {
  test('openai-client.mjs: an answer and a stream, both confirmed', async () => {
    expect((await run('openai-client.mjs')).match(/confirmed done/g)).toHaveLength(2);
  });

  test('batch.mjs: three prompts, three answers, each with its leaf', async () => {
    const said = await run('batch.mjs');
    expect(said).toContain('completed');
    expect(said).toMatch(/prompt-0 .*\(leaf 0\)\nprompt-1 .*\(leaf 1\)\nprompt-2 .*\(leaf 2\)/);
  });

  test('webhook-receiver.mjs: one message, verified', async () => {
    expect(await run('webhook-receiver.mjs')).toMatch(/^job\.done job_\w+ \/v1\/jobs\/job_\w+\/receipt\n$/);
  });

  test.each(['agent.mjs', 'webhook-receiver.mjs'])('%s without variables says which, and ends', (name) => {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'examples', name)], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'] ?? '' },
      encoding: 'utf8',
    });
    expect([status, stderr.includes('error: set COUNTERSIGN_URL'), stderr.includes('hint: ')]).toEqual([2, true, true]);
    expect(stderr).not.toContain('    at ');
  });

  test('agent.mjs: acts on what is confirmed, and on nothing else', async () => {
    expect(await run('agent.mjs')).toMatch(/act: true[\s\S]*act: false/);
  });
});

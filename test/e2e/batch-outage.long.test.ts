import { expect, test } from '@jest/globals';
import type OpenAI from 'openai';
import { toFile } from 'openai';
import { COURIER_AWAY_MS } from '../../src/surfaces/batches/batch.store.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, until } from '../support/pipeline.ts';

const HOUR_MS = 3_600_000;
const line = (id: string, body: object = {}) => ({
  custom_id: id,
  method: 'POST',
  url: '/v1/completions',
  body: { model: 'noop', prompt: `prompt ${id}`, max_tokens: 8, ...body },
});

async function begin(client: OpenAI, lines: readonly object[]): Promise<string> {
  const text = lines.map((one) => JSON.stringify(one)).join('\n');
  const file = await client.files.create({ file: await toFile(Buffer.from(text), 'lines.jsonl'), purpose: 'batch' });
  const endpoint = '/v1/completions';
  return (await client.batches.create({ input_file_id: file.id, endpoint, completion_window: '24h' })).id;
}

const over = (client: OpenAI, id: string) =>
  until(async () => {
    const batch = await client.batches.retrieve(id);
    return ['completed', 'failed', 'cancelled', 'expired'].includes(batch.status) && batch;
  });

async function idsIn(client: OpenAI, file: string | null | undefined): Promise<string[]> {
  const text = file == null ? '' : await (await client.files.content(file)).text();
  return text
    .split('\n')
    .filter((one) => one !== '')
    .map((one) => (JSON.parse(one) as { custom_id: string }).custom_id);
}

test('no courier for a day and two hours: what was done before is delivered, whatever has been forgotten since', async () => {
  await using pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  // Whatever may be forgotten is forgotten within seconds.
  await Promise.all([
    pipeline.api(),
    pipeline.worker(1),
    pipeline.attestor({ COUNTERSIGN_KEEP_JOBS: '100', COUNTERSIGN_KEEP_MS: '60000' }),
  ]);
  const client = openaiOf(pipeline, await pipeline.key());
  const names = Array.from({ length: 40 }, (_, at) => `o-${at}`);
  const id = await begin(client, [
    ...names.map((name, at) => line(name, { store: at % 2 === 0 })),
    line('never', { model: 'by-hand' }),
  ]);
  const { admin, keys } = pipeline.redis;
  // Its lines are submitted, and no answer is kept.
  const dying = await pipeline.courier({ COUNTERSIGN_CRASH_AT: 'courier.before-line:1' });
  expect(await dying.exited).toBe('SIGKILL');
  await until(async () => (await admin.zcard(keys.endedOf('acme'))) >= names.length);

  // What lives for a time is as it is 26 hours later.
  const awayMs = 26 * HOUR_MS;
  for (const key of await admin.keys(`${keys.prefix}*`)) {
    const left = await admin.pttl(key);
    if (left > 0) await admin.pexpire(key, left - awayMs);
  }
  const { createdMs = '0', expiresMs = '0' } = await admin.hgetall(keys.batch(id));
  await admin.hset(keys.batch(id), { createdMs: Number(createdMs) - awayMs, expiresMs: Number(expiresMs) - awayMs });
  for (const [at, job] of (await admin.zrange(keys.ended, '0', '-1')).entries())
    await admin.zadd(keys.ended, Date.now() - awayMs + at, job);
  for (const set of [keys.batchJobs, keys.erasures])
    for (const job of await admin.zrange(set, '0', '-1')) await admin.zincrby(set, -awayMs, job);

  // The next one enters the ends, and dies before it has read the answers.
  const next = await pipeline.courier({ COUNTERSIGN_CRASH_AT: 'courier.before-line:1' });
  expect(await Promise.race([next.exited, over(client, id)])).toBe('SIGKILL');
  await until(async () => (await admin.zcard(keys.batchJobs)) > 0);
  for (const [, until_] of pairs(await admin.zrange(keys.batchJobs, '0', '-1', 'WITHSCORES')))
    expect(Number(until_)).toBe(Number(expiresMs) - awayMs + COURIER_AWAY_MS);
  await pipeline.courier();
  const batch = await over(client, id);
  expect([batch.status, batch.request_counts]).toEqual([
    'expired',
    { total: names.length + 1, completed: names.length, failed: 1 },
  ]);
  expect(await idsIn(client, batch.output_file_id)).toEqual(names);
  expect(await idsIn(client, batch.error_file_id)).toEqual(['never']);
  // What was not to be stored is delivered, and erased an hour later.
  const unstored = pairs(await admin.zrange(keys.erasures, '0', '-1', 'WITHSCORES'));
  expect(unstored).toHaveLength(names.length / 2);
  for (const [, dueMs] of unstored) expect(Number(dueMs)).toBeLessThanOrEqual(Date.now() + HOUR_MS);
}, 300_000);

test('Redis loses its last moments under a running courier: every line is answered once, and none is called cancelled', async () => {
  await using pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.attestor(), pipeline.courier()]);
  const client = openaiOf(pipeline, await pipeline.key());
  const { admin, keys } = pipeline.redis;
  const names = Array.from({ length: 20 }, (_, at) => `l-${at}`);
  const id = await begin(client, [...names.map((name) => line(name)), line('slow', { model: 'by-hand' })]);
  const completed = async () => (await client.batches.retrieve(id)).request_counts?.completed ?? 0;
  await until(async () => (await completed()) === names.length);
  const [waiting = ''] = await until(async () => {
    const open = await admin.zrange(keys.openOf('acme'), '0', '-1');
    return open.length === 1 && open;
  });

  // As after a failover to a server that had not heard of them: the job that waits, and the answer to a line.
  const { idem = '', queue = '' } = await admin.hgetall(keys.job(waiting));
  await admin.unlink(keys.job(waiting), keys.ticket(waiting), keys.idempotency('acme', idem));
  await admin.zrem(keys.open, waiting);
  await admin.zrem(keys.openOf('acme'), waiting);
  await admin.zrem(keys.backlog(queue), waiting);
  const again = await until(async () => (await admin.zrange(keys.openOf('acme'), '0', '-1'))[0]);
  expect(again).not.toBe(waiting);
  expect(await admin.hdel(keys.batchParts(id), 'l3')).toBe(1);
  await pipeline.worker(2, {}, 'hands');
  const batch = await over(client, id);
  expect([batch.status, batch.request_counts]).toEqual([
    'completed',
    { total: names.length + 1, completed: names.length + 1, failed: 0 },
  ]);
  expect(await idsIn(client, batch.output_file_id)).toEqual([...names, 'slow']);
  expect(await admin.zcard(keys.endedOf('acme'))).toBe(names.length + 1);
}, 300_000);

const pairs = (flat: readonly string[]) =>
  Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at] ?? '', flat[2 * at + 1] ?? ''] as const);

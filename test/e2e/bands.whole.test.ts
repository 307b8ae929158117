import { expect, test } from '@jest/globals';
import { toFile } from 'openai';
import { laneOf } from '../../src/core/backlog/bands.ts';
import { openaiOf } from '../support/openai.ts';
import { NOOP_MODEL, Pipeline, completion, until } from '../support/pipeline.ts';

const QUEUE = 'default.noop';
const FLOOD = 150;
/** Beyond what was released when it came, what each place and the margin may have begun meanwhile. */
const PASSED = 16 + 4 * NOOP_MODEL.parallel;

test('behind a flood of standard jobs and the lines of a batch, an interactive job is answered among the first', async () => {
  await using pipeline = await Pipeline.start({ workers: 0, couriers: 1 });
  const client = await pipeline.client();
  const openai = openaiOf(pipeline, client.key);
  const admin = pipeline.redis.client();
  const { keys } = pipeline.redis;
  const deadline_ms = 3_600_000;

  const flood = Array.from({ length: FLOOD }, (_, n) => client.submit(completion(`flood ${n}`, { deadline_ms })));
  await Promise.all(flood);
  const lines = Array.from({ length: FLOOD }, (_, n) => ({
    custom_id: `line ${n}`,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'noop', messages: [{ role: 'user', content: `${n}` }], service_tier: 'priority' },
  }));
  const text = lines.map((line) => JSON.stringify(line)).join('\n');
  const file = await openai.files.create({ file: await toFile(Buffer.from(text), 'lines.jsonl'), purpose: 'batch' });
  const batch = await openai.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  });
  // Whatever they ask for, lines wait in the band of batches.
  await until(async () => (await admin.zcard(keys.backlog(laneOf(QUEUE, 'batch')))) > 100);

  const { id } = await client.submit(completion('a person waits', { band: 'interactive', deadline_ms }));
  expect(await client.job(id)).toMatchObject({ state: 'queued', band: 'interactive' });
  expect(await admin.zcard(keys.backlog(laneOf(QUEUE, 'interactive')))).toBe(1);
  const hurried = openai.chat.completions.create({
    model: 'noop',
    messages: [{ role: 'user', content: 'a person waits too' }],
    service_tier: 'priority',
  });
  await until(async () => (await admin.zcard(keys.backlog(laneOf(QUEUE, 'interactive')))) === 2);
  await pipeline.worker(1);

  expect((await hurried).service_tier).toBe('priority');
  const done = await until(async () => {
    const job = await client.job(id);
    return job.state === 'done' && job;
  });
  expect(done.band).toBeNull();
  // The order of the ends is kept, whatever the clock says.
  expect(await admin.zrank(keys.ended, id)).toBeLessThan(PASSED);

  // Nobody starves: all the rest ends as well.
  const { output_file_id } = await until(async () => {
    const now = await openai.batches.retrieve(batch.id);
    return now.status === 'completed' && now;
  });
  const answers = await (await openai.files.content(output_file_id ?? '')).text();
  expect(answers.match(/"service_tier":"flex"/g)).toHaveLength(FLOOD);
  await until(async () => (await admin.zcard(keys.open)) === 0);
  for (const band of ['interactive', 'standard', 'batch'] as const)
    expect(await admin.exists(keys.backlog(laneOf(QUEUE, band)))).toBe(0);
});

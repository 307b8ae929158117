import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import OpenAI, { toFile } from 'openai';
import { Pipeline, embedModel, until, type Role } from '../support/pipeline.ts';

/** As many inputs of a line as a request may have: 512 times 512 numbers, five megabytes as text. */
const INPUTS = 512;
const URL = '/v1/embeddings';

/** The most memory that a process has had, MiB. */
const peakMb = (role: Role) =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${role.process.pid ?? 0}/status`, 'utf8'))?.[1]) / 1_024;

/** MiB of the answers to a batch of so many lines. */
async function answeredMb(openai: OpenAI, count: number): Promise<number> {
  const lines = Array.from({ length: count }, (_, line) => {
    const input = Array.from({ length: INPUTS }, (_one, at) => `${line} ${at}`);
    return JSON.stringify({
      custom_id: `${line}`,
      method: 'POST',
      url: URL,
      body: { model: embedModel().name, input },
    });
  });
  const uploaded = await toFile(Buffer.from(lines.join('\n')), 'lines.jsonl');
  const file = await openai.files.create({ purpose: 'batch', file: uploaded });
  const { id } = await openai.batches.create({ input_file_id: file.id, endpoint: URL, completion_window: '24h' });
  const batch = await until(async () => {
    const found = await openai.batches.retrieve(id);
    return !['validating', 'in_progress', 'finalizing'].includes(found.status) && found;
  }, 1_500_000);
  expect([batch.status, batch.request_counts]).toEqual(['completed', { total: count, completed: count, failed: 0 }]);
  return (await openai.files.retrieve(batch.output_file_id ?? '')).bytes / 1_048_576;
}

test('a courier has no more memory for a batch whose answers are longer by hundreds of megabytes', async () => {
  await using pipeline = await Pipeline.prepare([embedModel()]);
  const [courier] = await Promise.all([pipeline.courier(), pipeline.api(), pipeline.worker(1), pipeline.attestor()]);
  const openai = new OpenAI({ baseURL: `${pipeline.url}/v1`, apiKey: (await pipeline.client()).key });
  await answeredMb(openai, 12);
  const before = peakMb(courier);
  const answers = await answeredMb(openai, 60);
  const after = peakMb(courier);
  process.stdout.write(
    `answers ${answers.toFixed(0)} MiB, courier ${before.toFixed(0)} MiB before and ${after.toFixed(0)} after\n`,
  );
  expect(answers).toBeGreaterThan(300);
  expect(after - before).toBeLessThan(150);
}, 1_600_000);

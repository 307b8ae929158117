import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { NOOP_MODEL, Pipeline, until, type Client, type Role } from '../support/pipeline.ts';

/** A batch at both of its limits at once: 50,000 lines and 200 MiB, through the API and the courier. */
const LINES = 50_000;
const BYTES = 200 * 1_048_576;
const URL = '/v1/completions';

let pipeline: Pipeline;
let client: Client;
let api: Role;
let courier: Role;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL]);
  [api, courier] = await Promise.all([pipeline.api(), pipeline.courier(), pipeline.worker(1), pipeline.attestor()]);
  client = await pipeline.client();
});
afterAll(() => pipeline[Symbol.asyncDispose]());

/** Lines of equal length that fill the file to the last byte. */
function* pieces(bytes: number): Generator<Buffer> {
  const each = Math.floor(bytes / LINES);
  for (let n = 0; n < LINES; n += 1) {
    const body = { model: 'noop', prompt: '', max_tokens: 1 };
    const bare = JSON.stringify({ custom_id: `line-${n}`, method: 'POST', url: URL, body });
    const length = n === LINES - 1 ? bytes - each * (LINES - 1) : each;
    yield Buffer.from(`${bare.replace('"prompt":""', `"prompt":"${'x'.repeat(length - bare.length - 1)}"`)}\n`);
  }
}

function upload(bytes: number): Promise<Response> {
  const boundary = 'countersign-limits';
  const part = (name: string, more = '') =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${more}\r\n`;
  const body = (function* () {
    yield Buffer.from(`${part('purpose')}\r\nbatch\r\n`);
    yield Buffer.from(`${part('file', '; filename="lines.jsonl"')}content-type: application/jsonl\r\n\r\n`);
    yield* pieces(bytes);
    yield Buffer.from(`\r\n--${boundary}--\r\n`);
  })();
  return client.fetch('/v1/files', {
    method: 'POST',
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: ReadableStream.from(body),
    duplex: 'half',
  });
}

/** The most memory that a process has had, MiB. */
const peakMb = (role: Role) =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${role.process.pid ?? 0}/status`, 'utf8'))?.[1]) / 1_024;

test('200 MiB and 50,000 lines are taken and answered in memory that does not grow with them; a byte more is refused', async () => {
  const before = peakMb(api);
  const tooLarge = await upload(BYTES + 1);
  expect([tooLarge.status, await tooLarge.json()]).toMatchObject([413, { error: { code: 'body_too_large' } }]);
  const taken = await upload(BYTES);
  const file = (await taken.json()) as OpenAI.FileObject;
  expect([taken.status, file.bytes]).toEqual([200, BYTES]);
  const afterUpload = peakMb(api);

  const openai = new OpenAI({ baseURL: `${pipeline.url}/v1`, apiKey: client.key });
  const { id } = await openai.batches.create({ input_file_id: file.id, endpoint: URL, completion_window: '24h' });
  const batch = await until(async () => {
    const found = await openai.batches.retrieve(id);
    return !['validating', 'in_progress', 'finalizing'].includes(found.status) && found;
  }, 1_500_000);
  expect([batch.status, batch.request_counts]).toEqual(['completed', { total: LINES, completed: LINES, failed: 0 }]);
  const output = await (await openai.files.content(batch.output_file_id ?? '')).text();
  const ids = output
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
  expect(ids).toEqual(Array.from({ length: LINES }, (_, n) => `line-${n}`));
  process.stdout.write(
    `peak memory, MiB: api ${before.toFixed(0)} at first, ${afterUpload.toFixed(0)} after 2 x 200 MiB, ${peakMb(api).toFixed(0)} at the end; courier ${peakMb(courier).toFixed(0)}\n`,
  );
  // Either would be far beyond this if it held the file.
  expect(afterUpload - before).toBeLessThan(150);
  expect(peakMb(courier)).toBeLessThan(350);
}, 1_600_000);

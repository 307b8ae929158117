import { METRIC_TABLE, type Metric } from '../../src/ground/metrics/metric-table.ts';
import { readdirSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { KJV_MODEL, Pipeline, completion, embedModel, until, type Client } from '../support/pipeline.ts';

interface Event {
  id: string;
  type: string;
  data: Record<string, unknown>;
}

/** Events of a job until the final one, or until `most` have come. */
async function events(client: Client, id: string, lastEventId?: string, most = Infinity): Promise<Event[]> {
  const controller = new AbortController();
  const response = await client.fetch(`/v1/jobs/${id}/events`, {
    signal: controller.signal,
    headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
  });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const found: Event[] = [];
  let rest = '';
  try {
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      rest += piece;
      const blocks = rest.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const match = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(block);
        if (match)
          found.push({
            id: match[1] ?? '',
            type: match[2] ?? '',
            data: JSON.parse(match[3] ?? '{}') as Record<string, unknown>,
          });
        if (found.length >= most) return found;
      }
    }
  } finally {
    controller.abort();
  }
  return found;
}

describe('the pipeline with real models', () => {
  /** Long enough to be still running when it is cancelled. */
  const LONG_MODEL = { ...KJV_MODEL, name: 'kjv-long', contextTokens: 16_384, parallel: 1 };
  let pipeline: Pipeline;
  let client: Client;
  beforeAll(async () => {
    // A heartbeat comes too late for anything that is tested here.
    pipeline = await Pipeline.start({
      models: [KJV_MODEL, LONG_MODEL, embedModel()],
      workers: 1,
      env: { 'worker:COUNTERSIGN_HEARTBEAT_MS': '20000' },
    });
    client = await pipeline.client();
  });
  afterAll(() => pipeline[Symbol.asyncDispose]());

  test('a completion, a chat and an embedding are confirmed by recomputation, and their receipts verify with what was asked and answered', async () => {
    const bodies = [
      {
        model: 'kjv-1m',
        task: 'completion',
        input: { prompt: 'In the beginning' },
        params: { max_tokens: 24, temperature: 0.8, seed: 3 },
      },
      {
        model: 'kjv-1m',
        task: 'chat',
        input: { messages: [{ role: 'user', content: 'Who was Moses?' }] },
        params: { max_tokens: 12 },
      },
      {
        model: 'use-lite',
        task: 'embedding',
        input: { texts: ['How do I reset my password?', 'I forgot my login credentials'] },
      },
    ];
    const jobs = await Promise.all(bodies.map((body) => client.run(body)));
    expect(jobs.map((job) => job.state)).toEqual(['done', 'done', 'done']);
    const verified = await Promise.all(
      jobs.map(async (job, index) =>
        verifyReceipt(await client.receipt(job.id), pipeline.keyring, {
          output: await client.output(job.id),
          input: Buffer.from(JSON.stringify(bodies[index]?.input)),
        }),
      ),
    );
    expect(verified[0]?.verdict.properties).toContain('OUTPUT_RECOMPUTED_EXACT');
    expect(verified[2]?.verdict.properties).toContain('OUTPUT_RECOMPUTED_WITHIN_TOLERANCE');
    expect(verified[2]?.verdict.recompute.maxAbsDiff).toBeLessThan(1e-4);
    expect(verified[0]?.ticket.params).toEqual({ max_tokens: 24, temperature: 0.8, top_p: 1, seed: 3, stop: [] });
    expect(verified[0]?.verdict.notChecked).toEqual(['HARDWARE_NOT_ATTESTED']);
    const answer = JSON.parse((await client.output(jobs[0]?.id ?? '')).toString()) as { text: string };
    expect(answer.text.length).toBeGreaterThan(10);
  });

  test('a stream that breaks off goes on where it was: every event once, in order, and the pieces are the answer', async () => {
    const job = await client.submit({
      model: 'kjv-1m',
      task: 'completion',
      input: { prompt: 'And it came to pass' },
      params: { max_tokens: 200, temperature: 0.9, seed: 5 },
    });
    const first = await events(client, job.id, undefined, 3);
    const rest = await events(client, job.id, first.at(-1)?.id);
    const all = [...first, ...rest];
    const whole = await events(client, job.id);
    expect(new Set(all.map((event) => event.id)).size).toBe(all.length);
    expect(all.filter((event) => event.type === 'state').map((event) => event.data['state'])).toEqual([
      'queued',
      'running',
      'attesting',
      'done',
    ]);
    expect(all).toEqual(whole);
    const text = all
      .filter((event) => event.type === 'chunk')
      .map((event) => event.data['text'])
      .join('');
    const output = JSON.parse((await client.output(job.id)).toString()) as { text: string };
    expect(text).toBe(output.text);
    expect(all.filter((event) => event.type === 'chunk').every((event) => event.data['provisional'] === true)).toBe(
      true,
    );
  });

  test('a running job is cancelled only when its worker has stopped, and that takes no heartbeat', async () => {
    const job = await client.submit({
      model: LONG_MODEL.name,
      task: 'completion',
      input: { prompt: 'And' },
      params: { max_tokens: 16_000, temperature: 1, seed: 1 },
    });
    await until(async () => (await client.job(job.id)).state === 'running');
    const answer = (await (await client.post(`/v1/jobs/${job.id}/cancel`, undefined)).json()) as {
      outcome: string;
      job: { state: string; reason: { detail: string } };
    };
    expect(answer.outcome).toBe('cancelled');
    expect(answer.job.reason.detail).toBe('The worker has stopped.');
    const output = await client.fetch(`/v1/jobs/${job.id}/output`);
    expect(output.status).toBe(409);
    expect(await output.json()).toMatchObject({ code: 'job_not_done' });
  });
});

describe('the pipeline, as its processes come', () => {
  let pipeline: Pipeline;
  let client: Client;
  beforeAll(async () => {
    pipeline = await Pipeline.prepare();
    await pipeline.api();
    client = await pipeline.client();
  });
  afterAll(() => pipeline[Symbol.asyncDispose]());

  test('nobody is ready without a consuming worker and a consuming attestor', async () => {
    const ready = async () =>
      (await (await fetch(`${pipeline.url}/health/ready`)).json()) as { ready: boolean; detail: string };
    expect(await ready()).toMatchObject({
      ready: false,
      detail: 'no worker is consuming and no attestor is consuming',
    });
    const worker = await pipeline.worker(1);
    await until(async () => (await ready()).detail === 'no attestor is consuming');
    await pipeline.attestor();
    await until(async () => (await ready()).ready);
    worker.process.kill('SIGTERM');
    expect(await worker.exited).toBe(0);
    await until(async () => (await ready()).detail === 'no worker is consuming');
  });

  test('a job whose deadline passes before a worker is free expires, and one that nobody runs is cancelled at once', async () => {
    const late = await client.submit(completion('late', { deadline_ms: 1_000 }));
    const unwanted = await client.submit(completion('unwanted'));
    const cancelled = (await (await client.post(`/v1/jobs/${unwanted.id}/cancel`, undefined)).json()) as {
      outcome: string;
    };
    expect(cancelled.outcome).toBe('cancelled');
    expect((await client.ended(late.id)).state).toBe('expired');
    const again = (await (await client.post(`/v1/jobs/${unwanted.id}/cancel`, undefined)).json()) as {
      outcome: string;
    };
    expect(again.outcome).toBe('already_final');
  });

  test('the same key and body answer with the same job, another body is refused, and 300 jobs at once are each done once', async () => {
    await Promise.all([pipeline.worker(1), pipeline.worker(2)]);
    const same = await Promise.all(
      Array.from({ length: 20 }, () => client.submit(completion('same'), { 'idempotency-key': '"k1"' })),
    );
    expect(new Set(same.map((job) => job.id)).size).toBe(1);
    const other = await client.post('/v1/jobs', completion('other'), { 'idempotency-key': '"k1"' });
    expect(other.status).toBe(422);
    expect(await other.json()).toMatchObject({ code: 'idempotency_key_reused' });

    const jobs = await Promise.all(Array.from({ length: 300 }, (_, index) => client.run(completion(`job ${index}`))));
    expect(jobs.every((job) => job.state === 'done' && job.attempts.length === 1)).toBe(true);
    for (const job of jobs.slice(0, 20))
      verifyReceipt(await client.receipt(job.id), pipeline.keyring, { output: await client.output(job.id) });

    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = (await (
        await client.fetch(`/v1/jobs?state=done&limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`)
      ).json()) as { jobs: { id: string }[]; next_cursor: string | null };
      seen.push(...page.jobs.map((job) => job.id));
      cursor = page.next_cursor;
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(new Set(seen)).toEqual(new Set([...jobs.map((job) => job.id), same[0]?.id]));
  });

  test('the metrics are what promtool accepts', async () => {
    await client.run(completion('x'));
    const shard = await until(async () => {
      const rendered = await (await fetch(`${pipeline.url}/metrics/shard`)).text();
      return rendered.includes('countersign_consuming_workers 2') && rendered;
    });
    const own = await (await fetch(`${pipeline.url}/metrics`)).text();
    // A sum over instances must not count the shard as often as there are instances.
    const names = (rendered: string) => new Set(rendered.match(/(?<=^# TYPE )countersign_\w+/gm));
    const inTable = (of: 'api' | 'shard') =>
      Object.entries<Metric>(METRIC_TABLE)
        .filter(([, metric]) => (of === 'shard' ? metric.of === of : metric.of !== 'shard' && metric.of.includes(of)))
        .map(([name]) => name);
    expect([names(shard), names(own)]).toEqual([new Set(inTable('shard')), new Set(inTable('api'))]);
    expect(own).toMatch(/^countersign_redis_up 1$/m);
    const text = own + shard;
    expect(text).toMatch(/countersign_http_requests_total\{method="POST",route="\/v1\/jobs",status="200"\} [1-9]\d*$/m);
    try {
      execFileSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        process.stderr.write('SKIPPED: promtool is not installed; the metrics were not checked with it\n');
      else throw error;
    }
  });

  test('large inputs travel as blobs; Redis lets go of the oldest jobs of who has many, and the archive serves them', async () => {
    // What is kept is the same for all attestors.
    await pipeline.kill('attestor');
    await pipeline.attestor({ COUNTERSIGN_KEEP_JOBS: '100' });
    const other = await pipeline.client('quiet');
    const quiet = await other.run(completion('of a quiet tenant'));
    const prompt = 'x'.repeat(300_000);
    const large = await client.run(completion(prompt));
    expect(large.state).toBe('done');
    expect(readdirSync(`${pipeline.folder}/blobs/pools/default`)).toHaveLength(1);
    verifyReceipt(await client.receipt(large.id), pipeline.keyring, { input: Buffer.from(JSON.stringify({ prompt })) });
    await Promise.all(Array.from({ length: 250 }, (_, index) => client.run(completion(`${index}`))));
    const admin = pipeline.redis.client();
    // Not while the number is only on its way there.
    await until(async () => (await admin.zcard(pipeline.redis.keys.unsealed)) === 0);
    await until(async () => (await admin.zcard(pipeline.redis.keys.endedOf('acme'))) <= 100);
    expect(await admin.zcard(pipeline.redis.keys.endedOf('acme'))).toBe(100);
    // That a finding was counted is said for an hour.
    const left = (await admin.keys('*')).filter((key) => key.includes('job_') && !key.includes(':audited:'));
    expect(new Set(left.map((key) => /job_[0-9a-z]{30}/.exec(key)?.[0])).size).toBe(101);
    expect(left).toContain(pipeline.redis.keys.record(quiet.id));
    expect(left).not.toContain(pipeline.redis.keys.record(large.id));
    expect(await client.job(large.id)).toEqual(large);
    verifyReceipt(await client.receipt(large.id), pipeline.keyring, { output: await client.output(large.id) });
    expect((await other.fetch(`/v1/jobs/${large.id}`)).status).toBe(404);
  });
});

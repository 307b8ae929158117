import { METRIC_TABLE, type Metric } from '../../src/ground/metrics/metric-table.ts';
import { readdirSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openAny } from '../../src/core/jobs/erased-record.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { findCanaries, recordsIn } from '../support/canary.ts';
import { Client, KJV_MODEL, Pipeline, completion, embedModel, until } from '../support/pipeline.ts';
import { IS_LONG, wholeTest } from '../support/thorough.ts';

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
    };
    // On a busy machine the worker stops after the answer.
    expect(['cancelled', 'stopping']).toContain(answer.outcome);
    await until(async () => (await client.job(job.id)).state === 'cancelled');
    expect((await client.job(job.id)).reason?.detail).toBe('The worker has stopped.');
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

  test('the same key and body answer with the same job, another body is refused, and many jobs at once are each done once', async () => {
    await Promise.all([pipeline.worker(1), pipeline.worker(2)]);
    const same = await Promise.all(
      Array.from({ length: 20 }, () => client.submit(completion('same'), { 'idempotency-key': '"k1"' })),
    );
    expect(new Set(same.map((job) => job.id)).size).toBe(1);
    const other = await client.post('/v1/jobs', completion('other'), { 'idempotency-key': '"k1"' });
    expect(other.status).toBe(422);
    expect(await other.json()).toMatchObject({ code: 'idempotency_key_reused' });

    const jobs = await Promise.all(
      Array.from({ length: IS_LONG ? 300 : 120 }, (_, index) => client.run(completion(`job ${index}`))),
    );
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

  wholeTest(
    'large inputs travel as blobs; Redis lets go of the oldest jobs of who has many, and the archive serves them',
    async () => {
      // What is kept is the same for all attestors.
      await pipeline.kill('attestor');
      const most = 100;
      await pipeline.attestor({ COUNTERSIGN_KEEP_JOBS: String(most) });
      const other = await pipeline.client('quiet');
      const quiet = await other.run(completion('of a quiet tenant'));
      const prompt = 'x'.repeat(300_000);
      const large = await client.run(completion(prompt));
      expect(large.state).toBe('done');
      expect(readdirSync(`${pipeline.folder}/blobs/pools/default`)).toHaveLength(1);
      verifyReceipt(await client.receipt(large.id), pipeline.keyring, {
        input: Buffer.from(JSON.stringify({ prompt })),
      });
      await Promise.all(Array.from({ length: most + 20 }, (_, index) => client.run(completion(`${index}`))));
      const admin = pipeline.redis.client();
      // Not while the number is only on its way there.
      await until(async () => (await admin.zcard(pipeline.redis.keys.unsealed)) === 0);
      await until(async () => (await admin.zcard(pipeline.redis.keys.endedOf('acme'))) <= most);
      expect(await admin.zcard(pipeline.redis.keys.endedOf('acme'))).toBe(most);
      // That a finding was counted is said for an hour, and provisional pieces stay for minutes.
      const left = (await admin.keys('*')).filter((key) => key.includes('job_') && !/:(audited|chunks):/.test(key));
      expect(new Set(left.map((key) => /job_[0-9a-z]{30}/.exec(key)?.[0])).size).toBe(most + 1);
      expect(left).toContain(pipeline.redis.keys.record(quiet.id));
      expect(left).not.toContain(pipeline.redis.keys.record(large.id));
      expect(await client.job(large.id)).toEqual(large);
      verifyReceipt(await client.receipt(large.id), pipeline.keyring, { output: await client.output(large.id) });
      expect((await other.fetch(`/v1/jobs/${large.id}`)).status).toBe(404);
    },
  );

  wholeTest(
    'what was erased is nowhere: not in Redis, not among blobs, not in the archive, and what others have of the same stays',
    async () => {
      const [admin, { keys }] = [pipeline.redis.client(), pipeline.redis];
      const carriedOut = () => until(async () => (await admin.zcount(keys.erasures, '-inf', Date.now())) === 0);
      const prompt = `Qx7canaryQx7 ${'y'.repeat(20_000)}`;
      const body = completion(prompt, { params: { seed: 5, stop: ['Qx8canaryQx8'] } });
      const done = await client.run(body);
      const stored = await client.run(completion('not for long: Qx9canaryQx9', { store: false, params: { seed: 6 } }));
      const twin = await (await pipeline.client('twin')).run(completion(prompt, { params: { seed: 5 } }));
      const output = await client.output(done.id);
      const canaries = ['Qx7canaryQx7', 'Qx8canaryQx8', (JSON.parse(output.toString()) as { text: string }).text];
      const where = {
        redis: admin,
        folders: [`${pipeline.folder}/blobs`, `${pipeline.folder}/log`],
        archive: `${pipeline.folder}/log/archive`,
      };
      expect((await findCanaries(canaries, where)).length).toBeGreaterThan(3);

      // Nobody else can, and a key that may only read cannot.
      const del = (who: Client, id: string) => who.fetch(`/v1/jobs/${id}`, { method: 'DELETE' });
      expect((await del(await pipeline.client('quiet'), done.id)).status).toBe(404);
      const reader = new Client(pipeline.url, await pipeline.key('acme', ['read']));
      expect((await del(reader, done.id)).status).toBe(403);
      expect((await client.output(done.id)).equals(output)).toBe(true);

      // At once, also while no attestor lives to carry it out. A job that is open is not erased.
      await pipeline.kill('attestor');
      const open = await client.submit(completion('open'));
      expect(await (await del(client, open.id)).json()).toMatchObject({ code: 'job_not_ended', status: 409 });
      await admin.xadd(keys.chunks(done.id), '*', 'e', '1', 'w', 'w', 'n', '1', 'd', canaries[0] ?? '');
      const erased = (await (await del(client, done.id)).json()) as typeof done;
      expect(erased).toMatchObject({ id: done.id, state: 'done', params: null, ended_at: done.ended_at });
      expect(erased.erased_at).not.toBeNull();
      const gone = async (id: string) => {
        for (const part of ['output', 'receipt'])
          expect(await (await client.fetch(`/v1/jobs/${id}/${part}`)).json()).toMatchObject({
            code: 'erased',
            status: 410,
          });
      };
      await gone(done.id);
      await pipeline.attestor();
      await carriedOut();
      await gone(done.id);
      expect(await (await del(client, done.id)).json()).toEqual(erased);
      expect(await client.job(done.id)).toEqual(erased);
      const listed = await client.json<{ jobs: (typeof done)[] }>('/v1/jobs?limit=10');
      expect(listed.jobs).toContainEqual(erased);
      const audit = await (
        await pipeline.client('operator')
      ).json<{ entries: { action: string; target: string }[] }>('/v1/admin/audit');
      expect(audit.entries.filter(({ target }) => target === done.id)).toMatchObject([{ action: 'job.erase' }]);

      // Another tenant asked and was answered the same, and keeps it.
      const left = await findCanaries(canaries, where);
      const theirs = await Promise.all(
        left.map(async (place) => place.includes(twin.id) || (await isOf(place, twin.id))),
      );
      expect(left.filter((_, at) => theirs[at] !== true)).toEqual([]);
      const twinClient = await pipeline.client('twin');
      verifyReceipt(await twinClient.receipt(twin.id), pipeline.keyring, {
        output: await twinClient.output(twin.id),
        input: Buffer.from(JSON.stringify({ prompt })),
      });
      await del(twinClient, twin.id);
      await carriedOut();
      expect(await findCanaries(canaries, where)).toEqual([]);

      // What was not to be stored is served for an hour, and then erases itself.
      const due = Number(await until(async () => (await admin.zscore(keys.erasures, stored.id)) ?? undefined));
      expect(due).toBe(Date.parse(stored.ended_at ?? '') + 3_600_000);
      const text = (JSON.parse((await client.output(stored.id)).toString()) as { text: string }).text;
      await admin.zadd(keys.erasures, Date.now() - 1, stored.id);
      await gone(stored.id);
      await carriedOut();
      expect(await findCanaries([text, 'Qx9canaryQx9'], where)).toEqual([]);

      /** Whether an entry of the archive is the one of this job. */
      function isOf(place: string, id: string): Promise<boolean> {
        const [, index] = /^entry (\d+) of /.exec(place) ?? [];
        const found = recordsIn(where.archive).filter((one) => String(one.index) === index);
        return Promise.resolve(found.length > 0 && found.every(({ record }) => openAny(record).id === id));
      }
    },
  );

  wholeTest(
    '410: an idempotency key says which job it made and how that ended, when nothing is kept of it any more',
    async () => {
      const [admin, { keys }] = [pipeline.redis.client(), pipeline.redis];
      const send = () => client.post('/v1/jobs', completion('forgotten'), { 'idempotency-key': '"forgotten"' });
      const { id } = (await (await send()).json()) as { id: string };
      await client.ended(id);
      await until(async () => (await admin.zscore(keys.endedOf('acme'), id)) !== null);
      expect(((await (await send()).json()) as { id: string }).id).toBe(id);
      await admin.unlink(keys.record(id));
      rmSync(`${pipeline.folder}/log/archive/000`, { recursive: true });
      const response = await send();
      expect(response.status).toBe(410);
      expect(response.headers.get('countersign-job')).toBe(id);
      expect(response.headers.get('countersign-state')).toBe('done');
      expect(await response.json()).toMatchObject({ code: 'job_forgotten' });
    },
  );
});

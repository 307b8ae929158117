import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import OpenAI, { toFile } from 'openai';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import { PART_LINES } from '../../src/surfaces/batches/batch-part.ts';
import { leafHash, verifyInclusion } from '../../src/proof/tlog/merkle.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Tenants } from '../../src/surfaces/tenants/tenant.store.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, KJV_MODEL, NOOP_MODEL, Pipeline, until, type Client } from '../support/pipeline.ts';
import { IS_LONG, longTest, sampleOf, wholeTest } from '../support/thorough.ts';

interface Completed {
  choices: { text: string }[];
  countersign: object;
}

interface OutputLine<Body = Completed> {
  id: string;
  custom_id: string;
  response: { status_code: number; request_id: string; body: Body };
  error: { code: string } | null;
  countersign: { receipts: { leaf: number; of: number; proof: string[] }[] };
}

const URL = '/v1/completions';
const line = (id: string, body: object = {}) => ({
  custom_id: id,
  method: 'POST',
  url: URL,
  body: { model: 'noop', prompt: `prompt ${id}`, max_tokens: 8, ...body },
});
const jsonl = (lines: readonly unknown[]) =>
  lines.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n');

let pipeline: Pipeline;
let native: Client;
let openai: OpenAI;

beforeAll(async () => {
  pipeline = await Pipeline.start({
    models: [KJV_MODEL, NOOP_MODEL, BY_HAND_MODEL],
    workers: 1,
    couriers: 1,
  });
  native = await pipeline.client();
  openai = openaiOf(pipeline, native.key);
});
afterAll(() => pipeline[Symbol.asyncDispose]());

async function begin(
  client: OpenAI,
  text: string,
  endpoint: OpenAI.BatchCreateParams['endpoint'] = URL,
): Promise<OpenAI.Batch> {
  const file = await client.files.create({ file: await toFile(Buffer.from(text), 'lines.jsonl'), purpose: 'batch' });
  expect(file.bytes).toBe(Buffer.byteLength(text));
  return client.batches.create({ input_file_id: file.id, endpoint, completion_window: '24h' });
}

const over = (client: OpenAI, id: string) =>
  until(async () => {
    const batch = await client.batches.retrieve(id);
    return ['completed', 'failed', 'cancelled', 'expired'].includes(batch.status) && batch;
  });

async function linesOf<Body = Completed>(client: OpenAI, id: string | null | undefined): Promise<OutputLine<Body>[]> {
  if (id == null) return [];
  const text = await (await client.files.content(id)).text();
  return text
    .trim()
    .split('\n')
    .map((one) => JSON.parse(one) as OutputLine<Body>);
}

describe('batches, with the official client', () => {
  test('each line is answered once, names receipts that verify, and stands in the tree of the batch', async () => {
    const ids = Array.from({ length: IS_LONG ? 300 : 60 }, (_, index) => `r-${index}`);
    const lines = [
      ...ids.map((id) => line(id)),
      line('real', { model: 'kjv-1m', prompt: 'In the beginning', n: 2, seed: 4 }),
      line('no such model', { model: 'gpt-9' }),
      line('too hot', { temperature: 9 }),
    ];
    const started = await begin(openai, `${jsonl(lines)}\n`);
    expect(started.status).toBe('validating');
    const batch = (await over(openai, started.id)) as OpenAI.Batch & {
      countersign: { receipts: number; receipts_root: string };
    };
    expect(batch.status).toBe('completed');
    expect(batch.request_counts).toEqual({ total: ids.length + 3, completed: ids.length + 1, failed: 2 });
    const output = await linesOf(openai, batch.output_file_id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual([...ids, 'real']);
    const errors = await linesOf(openai, batch.error_file_id);
    expect(errors.map(({ custom_id, response }) => [custom_id, response.status_code])).toEqual([
      ['no such model', 404],
      ['too hot', 400],
    ]);
    expect(errors[0]?.response.body).toMatchObject({ error: { code: 'model_not_found', param: 'model' } });
    expect(batch.countersign.receipts).toBe(ids.length + 2);
    const root = Buffer.from(batch.countersign.receipts_root, 'base64');
    const real = output.at(-1);
    expect(real?.response.body.choices).toHaveLength(2);
    for (const one of [output[0], output[ids.length - 34], real]) {
      const jobs = [...JSON.stringify(one?.response.body.countersign).matchAll(/job_[0-9a-z]{30}/g)].map(([id]) => id);
      for (const [at, id] of [...new Set(jobs)].entries()) {
        const receipt = await native.receipt(id);
        verifyReceipt(receipt, pipeline.keyring);
        const { verdict } = JSON.parse(receipt.toString()) as { verdict: { payload: string } };
        const place = one?.countersign.receipts[at];
        const proof = place?.proof.map((hash) => Buffer.from(hash, 'base64')) ?? [];
        const leaf = leafHash(Buffer.from(verdict.payload, 'base64'));
        expect(verifyInclusion(leaf, place?.leaf ?? -1, { size: place?.of ?? 0, root }, proof)).toBe(true);
      }
    }
  });

  wholeTest('responses: each line is a response that can be asked for again', async () => {
    const ask = (id: string, body: object) => ({
      custom_id: id,
      method: 'POST',
      url: '/v1/responses',
      body: { model: 'noop', ...body },
    });
    const lines = [
      ask('text', { input: 'hello', metadata: { who: 'me' }, max_output_tokens: 8 }),
      ask('turns', { input: [{ role: 'user', content: [{ type: 'input_text', text: 'hello' }] }], temperature: 0 }),
      ask('background', { input: 'hello', background: true }),
      ask('stream', { input: 'hello', stream: true }),
      ask('nothing', {}),
    ];
    const batch = await over(openai, (await begin(openai, jsonl(lines), '/v1/responses')).id);
    expect(batch.request_counts).toEqual({ total: 5, completed: 2, failed: 3 });
    const output = await linesOf<OpenAI.Responses.Response>(openai, batch.output_file_id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(['text', 'turns']);
    const body = output[0]?.response.body;
    expect(body).toMatchObject({
      object: 'response',
      status: 'completed',
      metadata: { who: 'me' },
      max_output_tokens: 8,
    });
    expect(output[0]?.countersign.receipts).toHaveLength(1);
    expect(await openai.responses.retrieve(body?.id ?? '')).toMatchObject({ ...body });
    const errors = await linesOf<{ error: OpenAI.ErrorObject }>(openai, batch.error_file_id);
    expect(errors.map(({ response }) => response.body.error.param)).toEqual(['background', 'stream', 'input']);
  });

  test('a file whose form is wrong fails as a whole, and says which lines and why', async () => {
    const started = await begin(
      openai,
      jsonl([
        line('a'),
        'not json',
        line('a'),
        { ...line('b'), method: 'GET' },
        { ...line('c'), url: '/v1/embeddings' },
        { method: 'POST', url: URL, body: {} },
        `{"custom_id":"d","custom_id":"e","method":"POST","url":"${URL}","body":{}}`,
        `${'['.repeat(5_000)}${']'.repeat(5_000)}`,
      ]),
    );
    const batch = await over(openai, started.id);
    expect(batch.status).toBe('failed');
    expect(batch.errors?.data?.map(({ code, line: at }) => [at, code])).toEqual([
      [2, 'invalid_json_line'],
      [3, 'duplicate_custom_id'],
      [4, 'invalid_method'],
      [5, 'invalid_url'],
      [6, 'missing_required_parameter'],
      [7, 'invalid_json_line'],
      [8, 'invalid_json_line'],
    ]);
    const empty = await over(openai, (await begin(openai, '\n\n')).id);
    expect(empty.errors?.data?.[0]?.code).toBe('empty_file');
  });

  wholeTest(
    'cancelling keeps what is finished and says of the rest that it was not run; an expired batch likewise',
    async () => {
      for (const end of ['cancelled', 'expired'] as const) {
        const lines = [
          line('quick'),
          ...Array.from({ length: 400 }, (_, n) => line(`never ${n}`, { model: 'by-hand' })),
        ];
        const { id } = await begin(openai, jsonl(lines));
        await until(async () => (await openai.batches.retrieve(id)).request_counts?.completed === 1);
        if (end === 'cancelled') expect((await openai.batches.cancel(id)).status).toBe('cancelling');
        else await pipeline.redis.client().hset(pipeline.redis.keys.batch(id), 'expiresMs', Date.now());
        const batch = await over(openai, id);
        expect([batch.status, batch.request_counts]).toEqual([end, { total: 401, completed: 1, failed: 400 }]);
        expect((await linesOf(openai, batch.output_file_id)).map(({ custom_id }) => custom_id)).toEqual(['quick']);
        const errors = await linesOf(openai, batch.error_file_id);
        expect(new Set(errors.map(({ error }) => error?.code))).toEqual(new Set([`batch_${end}`]));
        expect(errors).toHaveLength(400);
        await expect(openai.batches.cancel(id)).rejects.toMatchObject({ status: 409, code: 'batch_over' });
      }
      const open = async () =>
        ((await (await native.fetch('/v1/jobs?model=by-hand&state=queued')).json()) as { jobs: unknown[] }).jobs.length;
      await until(async () => (await open()) === 0);
    },
  );

  longTest(
    'stopped in the middle, by whatever and under kills: what was done is delivered, and nothing is done later',
    async () => {
      const { keys } = pipeline.redis;
      const admin = pipeline.redis.client();
      const redis = pipeline.redis.client('api');
      const [apiKeys, tenants] = [new ApiKeys(redis, keys), new Tenants(redis, keys, new AuditLog(redis, keys))];
      const count = 150;
      const stops: Record<
        string,
        (batch: { id: string; tenant: string; key: string; client: OpenAI }) => Promise<unknown>
      > = {
        cancelled: ({ id, client }) => client.batches.cancel(id),
        expired: ({ id }) => admin.hset(keys.batch(id), 'expiresMs', Date.now()),
        disabled: ({ tenant }) => tenants.change('test', tenant, { disabled: true }),
        revoked: ({ key }) => apiKeys.revoke('test', key.split('_')[1] ?? '', 'drain'),
      };
      await pipeline.kill('courier');
      const begun = await Promise.all(
        Object.entries(stops).map(async ([reason, stop]) => {
          const tenant = `stopped-${reason}`;
          await tenants.create('test', tenant, {});
          const key = await pipeline.key(tenant);
          const client = openaiOf(pipeline, key);
          const { id } = await begin(client, jsonl(Array.from({ length: count }, (_, n) => line(`s-${n}`))));
          return { id, tenant, key, client, reason, stop };
        }),
      );
      const dying = async (point: string) =>
        expect(await (await pipeline.courier({ COUNTERSIGN_CRASH_AT: `courier.${point}` })).exited).toBe('SIGKILL');
      await dying('after-line:200');
      for (const batch of begun) await batch.stop(batch);
      await dying('after-stop:2');
      await pipeline.courier();
      for (const { id, tenant, reason } of begun) {
        const batch = await until(async () => {
          const found = await admin.hgetall(keys.batch(id));
          return ['completed', 'failed', 'cancelled', 'expired'].includes(found['status'] ?? '') && found;
        });
        expect(batch['status']).toBe(reason === 'expired' ? 'expired' : 'cancelled');
        const completed = Number(batch['completed']);
        expect([completed > 0, completed + Number(batch['failed'])]).toEqual([true, count]);
        // Whatever was done, and so charged, is in the output; nothing of the batch is open any more.
        expect(await admin.zcard(keys.openOf(tenant))).toBe(0);
        const jobs = await admin.zrange(keys.endedOf(tenant), '0', '-1');
        const heads = await Promise.all(jobs.map((job) => admin.getrange(keys.record(job), 0, 20)));
        expect(heads.filter((head) => head.startsWith('1 done ')).length).toBe(completed);
      }
    },
  );

  test('401: a file is not kept whose key was revoked while it came', async () => {
    const { keys } = pipeline.redis;
    const admin = pipeline.redis.client();
    const apiKeys = new ApiKeys(pipeline.redis.client('api'), keys);
    const wanted = { tenant: 'leaving', scopes: ['submit', 'read'], limits: { requests_per_minute: 100 } } as const;
    const { text, keyId } = await apiKeys.create('test', wanted);
    const upload = request(`${pipeline.url}/v1/files`, {
      method: 'POST',
      headers: { authorization: `Bearer ${text}`, 'content-type': 'multipart/form-data; boundary=x' },
    });
    const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
    const field = (name: string) => `--x\r\ncontent-disposition: form-data; ${name}\r\n\r\n`;
    upload.write(`${field('name="purpose"')}batch\r\n${field('name="file"; filename="a.jsonl"')}`);
    // Its request was counted, so the key was let in.
    await until(async () => (await admin.exists(keys.limit('key', keyId, 'requests'))) === 1);
    await apiKeys.revoke('test', keyId);
    upload.end('{}\r\n--x--\r\n');
    const [answer] = await answered;
    expect(answer.statusCode).toBe(401);
    expect(await admin.exists(keys.filesOf('leaving'))).toBe(0);
  });

  test('files and batches of another tenant are not there, and lists have pages', async () => {
    const stranger = openaiOf(pipeline, await pipeline.key('other'));
    const first = await begin(openai, jsonl([line('a')]));
    const second = await begin(openai, jsonl([line('a')]));
    for (const missing of [
      stranger.files.retrieve(first.input_file_id),
      stranger.files.content(first.input_file_id),
      stranger.files.delete(first.input_file_id),
      stranger.batches.retrieve(first.id),
      stranger.batches.cancel(first.id),
      stranger.batches.create({ input_file_id: first.input_file_id, endpoint: URL, completion_window: '24h' }),
      openai.batches.retrieve('batch_000000000000000000000000'),
    ])
      await expect(missing).rejects.toMatchObject({ status: 404 });
    const page = await openai.batches.list({ limit: 1 });
    expect(page.data.map(({ id }) => id)).toEqual([second.id]);
    expect((await page.getNextPage()).data.map(({ id }) => id)).toEqual([first.id]);
    await over(openai, first.id);
    await openai.files.delete(first.input_file_id);
    await expect(openai.files.retrieve(first.input_file_id)).rejects.toMatchObject({ status: 404 });
    expect((await openai.files.list()).data.some(({ id }) => id === second.input_file_id)).toBe(true);
  });

  test('a file expires when it was asked to, and lists come in either order', async () => {
    const file = await toFile(Buffer.from(jsonl([line('a')])), 'lines.jsonl');
    const made = await openai.files.create({
      file,
      purpose: 'batch',
      expires_after: { anchor: 'created_at', seconds: 3_600 },
    });
    expect((made.expires_at ?? 0) - made.created_at).toBe(3_600);
    const wrong = openai.files.create({ file, purpose: 'batch', expires_after: { anchor: 'created_at', seconds: 5 } });
    await expect(wrong).rejects.toMatchObject({ status: 400, param: 'expires_after' });
    const ids = async (order: 'asc' | 'desc') =>
      (await openai.files.list({ order, purpose: 'batch' })).data.map(({ id }) => id);
    expect(await ids('asc')).toEqual((await ids('desc')).reverse());
    await openai.files.delete(made.id);
  });

  test('what is created under an Idempotency-Key is created once, and another request under it is 422', async () => {
    const upload = async (text: string, key: string) =>
      openai.files.create(
        { file: await toFile(Buffer.from(text), 'lines.jsonl'), purpose: 'batch' },
        { headers: { 'idempotency-key': key } },
      );
    const text = jsonl([line('once')]);
    const file = await upload(text, 'the-file');
    expect((await upload(text, 'the-file')).id).toBe(file.id);
    await expect(upload(jsonl([line('other')]), 'the-file')).rejects.toMatchObject({ status: 422 });
    const wanted = { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' } as const;
    const begun = (metadata: Record<string, string>) =>
      openai.batches.create({ ...wanted, metadata }, { headers: { 'idempotency-key': 'the-batch' } });
    const [first, second] = await Promise.all([begun({}), begun({})]);
    expect(second.id).toBe(first.id);
    await expect(begun({ a: 'b' })).rejects.toMatchObject({ status: 422 });
    const headers = { 'idempotency-key': 'the-file', 'content-type': 'application/json' };
    const job = { model: 'noop', prompt: 'x' };
    const reused = await native.fetch('/v1/completions', { method: 'POST', headers, body: JSON.stringify(job) });
    expect(reused.status).toBe(422);
    await over(openai, first.id);
  });

  test('400: uploads that are not what they should be leave no file', async () => {
    // Counted by purpose: what earlier tests' batches answer may still be written meanwhile.
    const uploads = async () => (await openai.files.list({ purpose: 'batch' })).data.length;
    const before = await uploads();
    const post = (body: NonNullable<RequestInit['body']>, headers: Record<string, string> = {}) =>
      native.fetch('/v1/files', { method: 'POST', body, headers });
    const form = (parts: Record<string, string | Blob>) => {
      const data = new FormData();
      for (const [name, value] of Object.entries(parts)) data.append(name, value);
      return data;
    };
    const blob = new Blob(['{}']);
    const answers = [
      await post('{}', { 'content-type': 'application/json' }),
      await post(form({ purpose: 'fine-tune', file: blob })),
      await post(form({ purpose: 'batch' })),
      await post(form({ purpose: 'batch', nonsense: 'x', file: blob })),
      await post(form({ purpose: 'batch', other: blob })),
      await post('--x\r\nrubbish', { 'content-type': 'multipart/form-data; boundary=x' }),
      await post('rubbish', { 'content-type': 'multipart/form-data' }),
      await post(form(Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`f${n}`, 'x'])))),
    ];
    for (const answer of answers) {
      expect([400, 415]).toContain(answer.status);
      expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
    }
    expect(await uploads()).toBe(before);
  });

  longTest('the courier is killed again and again, and every custom_id is answered exactly once', async () => {
    // One part more than are run at once.
    const count = 3 * PART_LINES + 20;
    const jobsSoFar = () => pipeline.redis.admin.zcard(pipeline.redis.keys.endedOf('acme'));
    const before = await jobsSoFar();
    const { id } = await begin(openai, jsonl(Array.from({ length: count }, (_, n) => line(`k-${n}`))));
    let kills = 0;
    const points = sampleOf(
      [
        'after-submit:40',
        'before-line:90',
        'after-line:150',
        'before-part:1',
        'after-part:1',
        'before-results:1',
        'after-results:1',
      ],
      2,
    );
    for (const point of points) {
      await pipeline.kill('courier');
      const role = await pipeline.courier({ COUNTERSIGN_CRASH_AT: `courier.${point}` });
      if ((await Promise.race([role.exited, over(openai, id).then(() => 'over')])) === 'SIGKILL') kills += 1;
    }
    await pipeline.courier();
    const batch = await over(openai, id);
    expect(kills).toBeGreaterThanOrEqual(points.length - 2);
    expect([batch.status, batch.request_counts?.completed]).toEqual(['completed', count]);
    const output = await linesOf(openai, batch.output_file_id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(Array.from({ length: count }, (_, n) => `k-${n}`));
    // And no line was asked twice.
    const jobs = new Set(output.map(({ response }) => response.request_id));
    expect(jobs.size).toBe(count);
    expect(await jobsSoFar()).toBe(before + count);
  });
});

interface Schedule {
  id: string;
  state: string;
  next: string[];
  price: null;
  paused_because: string | null;
  runs: { due_at: string; outcome: string; job: string; state: string; links: { receipt: string } }[];
}

describe('schedules', () => {
  const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    native.fetch(path, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const made = async (body: object, headers?: Record<string, string>) => {
    const response = await send('POST', '/v1/schedules', body, headers);
    expect([response.status, response.status === 201 ? '' : await response.clone().text()]).toEqual([201, '']);
    return (await response.json()) as Schedule;
  };
  const shown = (id: string) => native.json<Schedule>(`/v1/schedules/${id}`);
  const request = { model: 'kjv-1m', task: 'completion', input: { prompt: 'And God said' }, params: { max_tokens: 4 } };

  wholeTest(
    'what was due when the courier came is submitted once though it dies over it, done, and has its receipt',
    async () => {
      const began = new Date().toISOString();
      await pipeline.kill('courier');
      const doomed = await pipeline.courier({ COUNTERSIGN_CRASH_AT: 'courier.after-schedule:1' });
      const { id, next, price } = await made({
        cron: '*/5 * * * *',
        timezone: 'Asia/Kathmandu',
        catch_up: 'newest',
        request,
      });
      expect([next.length, price]).toEqual([5, null]);
      // As if it had been made an hour ago and no courier had run since.
      const admin = pipeline.redis.client();
      const { keys } = pipeline.redis;
      const pastMs = Math.floor(Date.now() / 300_000) * 300_000 - 3_600_000;
      const body = JSON.parse((await admin.hget(keys.schedule(id), 'body')) ?? '') as object;
      await admin.hset(keys.schedule(id), 'body', JSON.stringify({ ...body, nextMs: pastMs }));
      await admin.zadd(keys.schedules, pastMs, id);
      expect(await doomed.exited).toBe('SIGKILL');
      expect((await shown(id)).runs.map(({ outcome }) => outcome)).toEqual(['missed']);
      await pipeline.courier();
      // Another takes it when the dead one's time is over; nobody waits for that here.
      await admin.zadd(keys.schedules, 'XX', 1, id);
      const { runs } = await until(async () => {
        const schedule = await shown(id);
        return schedule.runs[0]?.state === 'done' && schedule;
      });
      expect(runs.map(({ outcome }) => outcome)).toEqual(['submitted', 'missed']);
      expect(runs[1]?.due_at).toBe(new Date(pastMs).toISOString());
      const { job = '', links } = runs[0] ?? {};
      const { jobs } = await native.json<{ jobs: { id: string }[] }>(`/v1/jobs?model=kjv-1m&created_after=${began}`);
      expect(jobs.map((one) => one.id)).toEqual([job]);
      expect(links?.receipt).toBe(`/v1/jobs/${job}/receipt`);
      const receipt = verifyReceipt(await native.receipt(job), pipeline.keyring);
      expect(receipt.ticket.tenant).toBe('acme');
    },
  );

  test('it is made once under a key, changed, paused, resumed and deleted, and the audit log tells', async () => {
    const key = { 'idempotency-key': '"nightly"' };
    const body = { cron: '@daily', timezone: 'Europe/Berlin', name: 'nightly', request };
    const first = await made(body, key);
    expect((await made(body, key)).id).toBe(first.id);
    expect((await send('POST', '/v1/schedules', { ...body, name: 'other' }, key)).status).toBe(422);
    const path = `/v1/schedules/${first.id}`;
    const changed = await (await send('PATCH', path, { cron: '0 12 * * *', timezone: 'UTC', paused: true })).json();
    expect(changed).toMatchObject({ state: 'paused', paused_because: 'by its owner', next: [] });
    const resumed = (await (await send('PATCH', path, { paused: false })).json()) as Schedule;
    expect(resumed.state).toBe('active');
    expect(resumed.next.map((at) => at.slice(10))).toEqual(Array.from({ length: 5 }, () => 'T12:00:00.000Z'));
    expect(await (await send('DELETE', path)).json()).toEqual({ id: first.id, deleted: true });
    expect((await native.fetch(path)).status).toBe(404);
    const { entries } = await native.json<{ entries: { action: string; target: string }[] }>('/v1/audit');
    expect(entries.filter(({ target }) => target === first.id).map(({ action }) => action)).toEqual([
      'schedule.delete',
      'schedule.change',
      'schedule.change',
      'schedule.create',
    ]);
  });

  test('what cannot be done is refused at once, and leaves nothing', async () => {
    const before = await native.json<{ schedules: unknown[] }>('/v1/schedules');
    const refusals: [object, string][] = [
      [{ cron: '61 * * * *' }, 'request_invalid'],
      [{ cron: '* * * * * *' }, 'request_invalid'],
      [{ cron: '0 0 31 4 *' }, 'request_invalid'],
      [{ timezone: 'Europe/Atlantis' }, 'request_invalid'],
      [{ timezone: '+02:00' }, 'request_invalid'],
      [{ end_at: '2020-01-01T00:00:00Z' }, 'request_invalid'],
      [{ start_at: '2040-01-02T00:00:00Z', end_at: '2040-01-01T00:00:00Z' }, 'request_invalid'],
      [{ overlap: 'sometimes' }, 'request_invalid'],
      [{ request: { ...request, model: 'gone' } }, 'model_not_found'],
      [{ request: { ...request, task: 'embedding', input: { texts: ['x'] } } }, 'task_not_supported'],
      [{ request: { ...request, input: { prompt: 'x'.repeat(70_000) } } }, 'body_too_large'],
      [{ request: { ...request, webhook: { url: 'http://10.0.0.1/' } } }, 'webhook_refused'],
    ];
    for (const [change, code] of refusals) {
      const response = await send('POST', '/v1/schedules', { cron: '@daily', request, ...change });
      expect([change, ((await response.json()) as { code: string }).code]).toEqual([change, code]);
    }
    expect(await native.json('/v1/schedules')).toEqual(before);
  });
});

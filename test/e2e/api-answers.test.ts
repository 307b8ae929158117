import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Countersign } from '../../src/client/client.ts';
import { OPERATIONS } from '../../src/roles/api/operations.ts';
import { JobDocument } from '../../src/proof/contract/job-document.ts';
import { Quote } from '../../src/roles/api/usage.schemas.ts';
import { Problem } from '../../src/proof/contract/problem.ts';
import { OpenAiError } from '../../src/surfaces/openai/openai-error.ts';
import { CompletionChunk } from '../../src/surfaces/openai/answer-document.ts';
import { AuditEntry } from '../../src/core/audit/audit-entry.ts';
import { DeletionDocument } from '../../src/roles/api/admin.schemas.ts';
import { HistoryDocument } from '../../src/roles/api/overview.schemas.ts';
import { PoolStateDocument } from '../../src/roles/api/pools.schemas.ts';
import { DeliveryList } from '../../src/roles/api/webhooks.schemas.ts';
import { SessionDocument } from '../../src/roles/api/session.schemas.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { Envelope, PAYLOAD_TYPE, fromEnvelope, verifyPayload } from '../../src/proof/receipts/dsse.ts';
import { DELETION_TYPE } from '../../src/surfaces/offboarding/tenant-deleter.ts';
import { readBundle } from '../../src/proof/memory/bundle-reader.ts';
import type { MemoryEntry } from '../../src/proof/memory/entry.ts';
import { ErasureList, ExtractionDocument } from '../../src/roles/api/memories.schemas.ts';
import { ERASURE_TYPE } from '../../src/surfaces/memory/erasure-receipts.ts';
import { findCanaries } from '../support/canary.ts';
import { verifyAuditExport } from '../../src/core/audit/audit-export.ts';
import { Client, NOOP_MODEL, Pipeline, embedModel, until, type Role } from '../support/pipeline.ts';
import { wholeTest } from '../support/thorough.ts';

let pipeline: Pipeline;
let client: Client;
let courier: Role;
const called = new Set<string>();

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, { ...NOOP_MODEL, name: 'by-hand', pool: 'hands' }, embedModel()]);
  const env = { COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' };
  const issuer = 'https://issuer.example/';
  const terms = {
    ...{ version: 1, issuer, keys: `${issuer}jwks`, resource: 'https://api.example/mcp' },
    callers: [{ claims: { sub: 'x' }, key: '0'.repeat(16) }],
  };
  const oauth = { COUNTERSIGN_MCP_OAUTH: pipeline.file('mcp-oauth.json', terms) };
  [courier] = await Promise.all([
    pipeline.courier(env),
    pipeline.api({ ...env, ...oauth }),
    pipeline.worker(1),
    pipeline.attestor(),
  ]);
  client = await pipeline.client('operator');
});
afterAll(() => pipeline[Symbol.asyncDispose]());

async function* each(lines: readonly string[]) {
  yield* lines;
  await Promise.resolve();
}

/** What later calls need of an answer: an id, or the text of an API key. */
const Made = z.looseObject({ id: z.string().catch(''), key: z.string().catch('') });

/** Calls a route by its operation; its answer must have a status and a shape that the operation describes. */
async function answered(id: string, ids: Record<string, string> = {}, body?: unknown, query = ''): Promise<unknown> {
  const operation = OPERATIONS.find((one) => one.id === id);
  if (operation === undefined) throw new Error(`${id} is no operation`);
  called.add(id);
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? '');
  const response = await client.fetch(`${path}${query}`, {
    method: operation.method.toUpperCase(),
    ...(body === undefined || body instanceof FormData ? {} : { headers: { 'content-type': 'application/json' } }),
    ...(body === undefined ? {} : { body: body instanceof FormData ? body : JSON.stringify(body) }),
  });
  const content = operation.success[response.status];
  const text = await response.text();
  if (content === undefined) throw new Error(`${id} answered ${response.status}, which is not described: ${text}`);
  const parsed = content.schema.safeParse(JSON.parse(text));
  expect([id, parsed.error?.issues ?? []]).toEqual([id, []]);
  return parsed.data;
}

async function call(...asked: Parameters<typeof answered>): Promise<z.infer<typeof Made>> {
  return Made.parse(await answered(...asked));
}

const JOB = { model: 'noop', task: 'completion', input: { prompt: 'x' }, params: { max_tokens: 4 } };
const FOREVER = { ...JOB, model: 'by-hand', deadline_ms: 60_000 };

/** What can be asked again without harm: it looks, ends, or finds what it had made already. */
const MAKES_NOTHING: ReadonlySet<string> = new Set([
  'quoteJob',
  'cancelJob',
  'retryJob',
  'cancelBatch',
  'cancelResponse',
  'searchMemories',
  'eraseMemories',
  'importMemories',
]);

describe('real answers have the shape that the description promises', () => {
  test('jobs, from submission to receipt', async () => {
    const { id } = await call('submitJob', {}, JOB);
    await client.fetch(`/v1/jobs/${id}`, { headers: { prefer: 'wait=30' } });
    for (const operation of ['getJob', 'getJobOutput', 'getJobReceipt']) await call(operation, { id });
    await call('listJobs', {}, undefined, '?limit=5');
    await call('cancelJob', { id });
    const { id: waits } = await call('submitJob', {}, FOREVER);
    for (const one of [id, waits]) await call('explainJob', { id: one });
    const not_before = new Date(Date.now() + 3_600_000).toISOString();
    const later = JobDocument.parse(await answered('submitJob', {}, { ...JOB, not_before, priority: 3 }));
    expect(later).toMatchObject({ state: 'queued', not_before, priority: 3, queue_position: null });
    expect(await answered('explainJob', { id: later.id })).toMatchObject({ held_by: 'not_before' });
    // There is none while no worker was heard of lately, as on a busy machine.
    for (const look of [
      async () => JobDocument.parse(await answered('getJob', { id: later.id })).eta ?? undefined,
      async () => Quote.parse(await answered('quoteJob', {}, { ...JOB, not_before })).eta ?? undefined,
    ])
      expect(Date.parse((await until(look)).p50)).toBeGreaterThanOrEqual(Date.parse(not_before));
    await call('cancelJob', { id: later.id });
    const vain = { ...JOB, not_before, deadline_ms: 60_000 };
    expect(await answered('quoteJob', {}, vain)).toMatchObject({
      possible: false,
      reason: { code: 'request_invalid' },
    });
    const refused = await client.post('/v1/jobs', vain);
    expect([refused.status, Problem.parse(await refused.json()).code]).toEqual([400, 'request_invalid']);
    const spoken = { model: 'noop', prompt: 'x', countersign: { not_before, deadline_ms: 60_000 } };
    const { error } = OpenAiError.parse(await (await client.post('/v1/completions', spoken)).json());
    expect([error.code, error.param]).toEqual(['request_invalid', 'not_before']);
    await call('cancelJob', { id: waits });
    for (const outcome of ['retried', 'already_retried'])
      expect(await answered('retryJob', { id: waits })).toMatchObject({ outcome, job: { retried_from: waits } });
    for (const one of [id, later.id]) {
      const answer = await client.fetch(`/v1/jobs/${one}/retry`, { method: 'POST' });
      const ended = (await client.job(one)).state;
      expect([ended, answer.status]).toEqual([ended, ended === 'done' ? 409 : 202]);
    }
    await call('eraseJob', { id });
    await call('getJob', { id });
    await call('listJobs');
    await call('quoteJob', {}, JOB);
    await call('quoteJob', {}, { ...JOB, model: 'absent' });
    await call('getUsage', {}, undefined, '?group_by=day,key,model');
    await call('listLedgerPeriods', {}, undefined);
  });

  test("OpenAI's answers and the frames of a stream", async () => {
    const messages = [{ role: 'user', content: 'x' }];
    await call('createChatCompletion', {}, { model: 'noop', messages, n: 2 });
    await call('createCompletion', {}, { model: 'noop', prompt: 'x', max_tokens: 4 });
    for (const encoding_format of ['float', 'base64'])
      await call('createEmbedding', {}, { model: 'use-lite', input: 'x', encoding_format });
    for (const [path, body] of [
      ['/v1/chat/completions', { messages }],
      ['/v1/completions', { prompt: 'x' }],
    ] as const) {
      const sent = { ...body, model: 'noop', stream: true, stream_options: { include_usage: true } };
      const frames = (await (await client.post(path, sent)).text()).split('\n\n').filter((frame) => frame !== '');
      expect(frames.at(-1)).toBe('data: [DONE]');
      for (const frame of frames.slice(0, -1)) {
        const parsed = CompletionChunk.safeParse(JSON.parse(frame.replace('data: ', '')));
        expect([frame, parsed.error?.issues ?? []]).toEqual([frame, []]);
      }
    }
    const { id: response } = await call('createResponse', {}, { model: 'noop', input: 'x' });
    await call('getResponse', { response });
    await call('deleteResponse', { response });
    const waiting = await call('createResponse', {}, { model: 'by-hand', input: 'x', background: true });
    await call('cancelResponse', { response: waiting.id });
    await call('listModels');
    await call('getModel', { model: 'noop' });
  });

  test('files and batches', async () => {
    const form = new FormData();
    form.append('purpose', 'batch');
    const line = { custom_id: 'a', method: 'POST', url: '/v1/completions', body: { model: 'by-hand', prompt: 'x' } };
    form.append('file', new Blob([JSON.stringify(line)]), 'lines.jsonl');
    const { id } = await call('uploadFile', {}, form);
    await call('getFile', { id });
    await call('listFiles');
    const wanted = { input_file_id: id, endpoint: '/v1/completions', completion_window: '24h' };
    const batch = await call('createBatch', {}, wanted);
    await call('getBatch', { id: batch.id });
    await call('listBatches');
    await call('cancelBatch', { id: batch.id });
    await call('deleteFile', { id });
  });

  test('webhooks', async () => {
    const { id: webhook } = await call('createWebhook', {}, { url: 'http://127.0.0.1:9/' });
    for (const operation of ['getWebhook', 'getWebhookSecret', 'rotateWebhookSecret'])
      await call(operation, { webhook });
    await call('listWebhooks');
    await call('getDefaultWebhookSecret');
    await call('rotateDefaultWebhookSecret', {}, { overlap_seconds: 1 });
    await call('changeWebhook', { webhook }, { description: 'x' });
    const { id: delivery } = await call('testWebhook', { webhook });
    await call('listDeliveries', { webhook });
    await call('redeliver', { delivery });
    const { id } = await call('submitJob', {}, { ...JOB, webhook: { url: 'http://127.0.0.1:9/' } });
    await until(async () => {
      const told = DeliveryList.parse(await answered('listDeliveriesOfJob', { id })).deliveries;
      return told.some(({ endpoint, type }) => endpoint === 'job' && type === 'job.done');
    });
    await call('deleteWebhook', { webhook });
  });

  test('schedules', async () => {
    const wanted = { cron: '30 7 * * 1-5', timezone: 'Europe/Berlin', request: JOB };
    const { id: schedule } = await call('createSchedule', {}, wanted);
    await call('getSchedule', { schedule });
    await call('listSchedules');
    await call('changeSchedule', { schedule }, { paused: true });
    await call('deleteSchedule', { schedule });
  });

  /** Exports, imports into an owner who has nothing, and exports again: the same but for the manifest. */
  async function carryAway(owner: string, memory: string): Promise<void> {
    const exported = async (of: string, fromByte = 0) =>
      (await client.fetch(`/v1/memories/export?owner=${of}&from_byte=${fromByte}`)).text();
    expect(await exported('nobody')).toMatch(/"entries":0,.*"tombstones":0/);
    const bundle = await exported(owner);
    const entries: MemoryEntry[] = [];
    for await (const reading of readBundle([Buffer.from(bundle)])) {
      if (reading.kind === 'entry') entries.push(reading.entry);
      if (reading.kind !== 'manifest') continue;
      expect(reading.line.signature?.key).toBe(pipeline.apiKey.public.id);
      expect(reading.line.manifest).toMatchObject({ owner, records: { entries: 3 } });
    }
    const outcomesOf = (outcome: string) => ({ entries: entries.map(({ id }) => ({ id, outcome })) });
    const wanted = { owner: 'bea', entries };
    expect(await answered('importMemories', {}, { ...wanted, dry_run: true })).toMatchObject(outcomesOf('kept'));
    expect(await answered('importMemories', {}, wanted)).toMatchObject(outcomesOf('kept'));
    expect(await answered('importMemories', {}, wanted)).toMatchObject(outcomesOf('same'));
    const withoutManifest = (text: string) => text.split('\n').slice(0, -2);
    expect(withoutManifest(await exported('bea'))).toEqual(withoutManifest(bundle));
    const begin = bundle.indexOf('\n') + 1;
    expect(withoutManifest(await exported(owner, begin))).toEqual(withoutManifest(bundle).slice(1));
    const { memories } = await client
      .fetch(`/v1/memories?owner=bea`)
      .then(async (answer) => z.object({ memories: z.array(z.unknown()) }).parse(await answer.json()));
    expect(memories).toHaveLength(3);
    const others = [{ text: 'no other member' }, { ...entries[0], text: 'otherwise' }];
    expect(await answered('importMemories', {}, { ...wanted, entries: others })).toMatchObject({
      entries: [{ outcome: 'refused' }, { id: entries[0]?.id, outcome: 'conflict' }],
    });
    await call('eraseOwner', { owner: 'bea' });
    expect((await client.fetch(`/v1/memories/${memory}?owner=${owner}`)).status).toBe(200);
  }

  wholeTest('memories, from the first word to the receipt of their end', async () => {
    const owner = 'ann';
    const Added = z.object({ memories: z.array(z.object({ memory: z.object({ id: z.string() }) })).min(1) });
    const messages = [
      { role: 'user', content: 'I am allergic to peanuts.' },
      { role: 'assistant', content: 'I will remember that.' },
    ];
    const text = 'The house has a green door.';
    const added = Added.parse(await answered('addMemories', {}, { owner, infer: false, messages }));
    const more = Added.parse(await answered('addMemories', {}, { owner, infer: false, text, category: 'home' }));
    const [memory = '', second = ''] = [...added.memories, ...more.memories].map((one) => one.memory.id);
    const door = more.memories[0]?.memory.id;
    const query = 'what must she not eat?';
    const found = await answered('searchMemories', {}, { owner, query, filter: { trust: 'user' } });
    // By meaning: the question shares no word with the answer.
    expect(found).toMatchObject({ results: [{ memory: { id: memory }, semantic: { rank: 1 }, text: null }, {}] });
    const begun = ExtractionDocument.parse(await answered('addMemories', {}, { owner, text, model: 'noop' }));
    const extraction = await until(async () => {
      const document = ExtractionDocument.parse(await answered('getExtraction', { job: begun.job }));
      return document.outcome !== 'open' && document;
    });
    // The model of the tests repeats what it is told, which is no answer.
    expect(extraction).toMatchObject({ outcome: 'refused', reason: 'extraction_not_usable', memories: [] });
    expect(await answered('getMemoryReceipts', { memory })).toEqual({ receipts: [] });
    await call('listMemories', {}, undefined, `?owner=${owner}&category=home`);
    await call('getMemory', { memory });
    await call('correctMemory', { memory }, { text: 'I am allergic to nuts.' });
    const history = await answered('getMemoryHistory', { memory }, undefined, `?owner=${owner}`);
    expect(history).toMatchObject({ versions: [{ text: 'I am allergic to peanuts.' }, { version: 2 }] });
    expect(await answered('getProfile', { owner })).toMatchObject({
      sections: [{ type: 'semantic', category: 'home', lines: [{ text, memories: [door] }] }, { type: 'episodic' }],
      left_out: 0,
    });
    await carryAway(owner, memory);
    const { erasures } = ErasureList.parse(await answered('eraseMemory', { memory }));
    const [receipt] = erasures;
    const signed =
      receipt === undefined
        ? { refused: 'there is none' }
        : fromEnvelope({ ...receipt.envelope, payloadType: PAYLOAD_TYPE });
    if ('refused' in signed) throw new Error(signed.refused);
    expect(verifyPayload(pipeline.apiKey.public, signed, ERASURE_TYPE)).toBe(true);
    expect(sha256Hex(signed.payload)).toBe(receipt?.sha256);
    expect((await client.fetch(`/v1/memories/${memory}`)).status).toBe(410);
    await call('eraseMemories', {}, { owner, ids: [second] });
    expect(await answered('listOwners')).toEqual({ owners: [owner] });
    expect(await answered('listReaders', { owner })).toMatchObject({
      reads: [
        { action: 'get' },
        { action: 'export' },
        { action: 'export' },
        { action: 'profile' },
        { action: 'history' },
        { action: 'correct' },
        { action: 'get' },
        { action: 'list' },
        { action: 'receipts' },
        { action: 'search' },
      ],
    });
    await call('eraseOwner', { owner });
    const audited = await (await client.fetch('/v1/audit?limit=50')).text();
    expect(audited).toContain(receipt?.sha256);
  });

  wholeTest(
    'an erased memory is in no file of any process and in no key, and a killed memory starts again with the others',
    async () => {
      const canary = 'xylocarp of zanzibar';
      const memory = new Countersign({ url: pipeline.url, key: client.key }).memory('canary');
      const { id } = await memory.remember(canary, { category: 'fruit' });
      const stays = await memory.remember('the sea is salt');
      const [pid] = readFileSync(`/proc/${courier.process.pid}/task/${courier.process.pid}/children`, 'utf8').split(
        ' ',
      );
      process.kill(Number(pid), 'SIGKILL');
      // The client tries again until the memory has started.
      const [found] = await memory.recall('zanzibar', { mode: 'text' });
      expect(found).toMatchObject({ memory: { id }, text: { rank: 1, coverage: 1, words: ['zanzibar'] } });
      await memory.correct(id, `${canary}, the second`);
      expect((await memory.history(id)).map(({ version }) => version)).toEqual([1, 2]);
      expect(await memory.forget(id)).toMatchObject([{ statement: { removed: 1, resealed: 1 } }]);
      const listed = [];
      for await (const one of memory.list()) listed.push(one);
      expect(listed).toEqual([stays]);
      const where = {
        redis: pipeline.redis.client(),
        folders: [pipeline.folder, pipeline.redis.folder],
        archive: `${pipeline.folder}/log/archive`,
      };
      expect(await findCanaries([canary, 'the sea is salt'], where)).toEqual([]);
      // Nor in what the processes said.
      expect(courier.stderr()).not.toContain('xylocarp');
    },
  );

  test('tenants and keys', async () => {
    await call('createTenant', {}, { name: 'acme', limits: { requests_per_minute: 600 } });
    await call('listTenants');
    await call('getTenant', { tenant: 'acme' });
    await call('changeTenant', { tenant: 'acme' }, { disabled: true });
    const { id: key } = await call('createKey', { tenant: 'acme' }, { scopes: ['read'] });
    await call('listKeys', { tenant: 'acme' });
    await call('changeKey', { key }, { name: 'reader', limits: { spend: 5 } });
    await call('listKeyWork', { key }, undefined, '?limit=5');
    await call('rotateKey', { key }, { overlap_seconds: 1 });
    await call('revokeKey', { key }, undefined, '?work=stop');
    await call('listAuditEntries', {}, undefined, '?limit=10');
    await call('listStuckJobs', {}, undefined, '?limit=10');
    await call('listParticipants');
  });

  test('the whole installation, what it has done, and a session of its dashboard', async () => {
    await call('getOverview');
    const counted = async (name: string) => {
      const { points } = HistoryDocument.parse(await answered('getHistory', {}, undefined, '?span=hour'));
      return points.reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0);
    };
    await client.ended((await client.submit(JOB)).id);
    await client.post('/v1/jobs', {});
    for (const name of ['accepted', 'done']) await until(async () => (await counted(name)) > 0);
    for (const span of ['day', 'week']) {
      const of = async () => HistoryDocument.parse(await answered('getHistory', {}, undefined, `?span=${span}`));
      await until(async () => (await of()).refusals.some(({ code }) => code === 'request_invalid'));
    }
    await call('makeLoginLink', {}, { read_only: true });
    await call('beginSession', {}, { key: client.key });
    const address = `${pipeline.url}/v1/session`;
    const begun = await fetch(address, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ key: client.key }),
    });
    const cookie = begun.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
    const session = SessionDocument.parse(await begun.json());
    expect(SessionDocument.parse(await (await fetch(address, { headers: { cookie } })).json())).toEqual(session);
    const headers = { cookie, 'x-countersign-session': session.proof };
    expect(await (await fetch(address, { method: 'DELETE', headers })).json()).toEqual({ ended: true });
    for (const id of ['getSession', 'endSession']) called.add(id);
  });

  test('a pool that is paused, drained, emptied and opened again', async () => {
    const document = async (id: string, ...more: unknown[]) =>
      PoolStateDocument.parse(await answered(id, { pool: 'hands' }, ...more));
    const open = await client.submit({ ...FOREVER, deadline_ms: 3_600_000 });
    expect(await document('changePoolState', { state: 'paused' })).toMatchObject({ state: 'paused' });
    const { id } = await client.submit({ ...FOREVER, deadline_ms: 3_600_000 });
    expect(await client.json(`/v1/jobs/${id}`)).toMatchObject({ state: 'queued', queue_position: null, eta: null });
    const shard = async () => (await client.fetch('/metrics/shard')).text();
    expect(await shard()).toContain('countersign_pool_state{pool="hands",state="paused"} 1');
    // Both wait, and workers are scaled by that.
    expect(await shard()).toMatch(/^countersign_pool_work_jobs\{pool="hands"\} [2-9]$/m);
    expect((await document('emptyPool')).emptying?.found_jobs).toBeGreaterThanOrEqual(2);
    for (const one of [open.id, id])
      expect(await client.json(`/v1/jobs/${one}`, { headers: { prefer: 'wait=30' } })).toMatchObject({
        state: 'cancelled',
        reason: { code: 'cancelled', detail: 'The operator has emptied its pool.' },
      });
    await until(async () => typeof (await document('getPoolState')).emptying?.ended_at === 'string');
    await document('changePoolState', { state: 'draining' });
    const refused = await client.post('/v1/jobs', FOREVER);
    expect([refused.status, Problem.parse(await refused.json()).code]).toEqual([503, 'pool_draining']);
    expect(await document('changePoolState', { state: 'open' })).toMatchObject({ state: 'open', by: null });
    await call('listPoolStates');
    const { entries } = await client.json<{ entries: { action: string }[] }>('/v1/admin/audit?limit=50');
    expect(entries.map(({ action }) => action).filter((action) => action.startsWith('pool.'))).toEqual([
      'pool.resume',
      'pool.drain',
      'pool.emptied',
      'pool.empty',
      'pool.pause',
    ]);
  });

  test('the export of the audit log verifies offline, has a head in the transparency log, and shows what was refused', async () => {
    called.add('exportAuditLog');
    const reader = new Client(pipeline.url, await pipeline.key('outsider', ['read']));
    for (let n = 0; n < 50; n += 1) expect((await reader.fetch('/v1/admin/tenants')).status).toBe(403);
    const linesOf = async () => (await (await client.fetch('/v1/admin/audit/export')).text()).trimEnd().split('\n');
    const lines = await until(async () => {
      const found = await linesOf();
      return found[0]?.startsWith('{"logged"') === true && found;
    });
    const report = await verifyAuditExport(each(lines), pipeline.keyring.logPolicy);
    expect(report.heads).toBeGreaterThan(0);
    expect(report.entries).toBe(lines.length - report.heads);
    await expect(verifyAuditExport(each(lines.slice(0, report.heads)), pipeline.keyring.logPolicy)).rejects.toThrow(
      /do not lead to/,
    );
    const actions = lines.slice(report.heads).map((line) => AuditEntry.parse(JSON.parse(line)));
    const by = reader.key.split('_')[1];
    expect(actions.filter((entry) => entry.by === by)).toMatchObject([
      { action: 'refused', target: 'GET /v1/admin/tenants', tenant: 'outsider' },
    ]);
    for (const action of ['operator.use', 'keyring.inForce', 'catalog.inForce', 'webhook.secret.read'])
      expect(actions.map((entry) => entry.action)).toContain(action);
  });

  test('a tenant and its own keys', async () => {
    await call('createTenant', {}, { name: 'operator' });
    await call('getOwnTenant');
    await call('listOwnAuditEntries', {}, undefined, '?limit=10');
    const { id: key } = await call('createOwnKey', {}, { scopes: ['submit', 'read'] });
    await call('listOwnKeys');
    await call('getOwnKey', { key });
    await call('changeOwnKey', { key }, { limits: { spend: 5 } });
    const { key: text } = await call('rotateOwnKey', { key }, { overlap_seconds: 1 });
    const { id } = await new Client(pipeline.url, text).submit(JOB);
    const work = await call('listOwnKeyWork', { key: text.split('_')[1] ?? '' });
    expect(work).toMatchObject({ jobs: [{ id }], batches: [], files: [] });
    await call('revokeOwnKey', { key });
  });

  wholeTest(
    'a tenant that is deleted: nothing of it is left but the books, and a signed account says what went',
    async () => {
      await call('createTenant', {}, { name: 'leaving' });
      const made = await call('createKey', { tenant: 'leaving' }, { scopes: ['submit', 'read', 'tenant_admin'] });
      const leaving = new Client(pipeline.url, made.key);
      const canary = 'Qx5canaryQx5';
      const done = await leaving.run({ ...JOB, input: { prompt: canary } });
      const open = await leaving.submit({ ...FOREVER, input: { prompt: canary }, deadline_ms: 3_600_000 });
      const form = new FormData();
      form.append('purpose', 'batch');
      const body = { model: 'by-hand', prompt: canary };
      const line = { custom_id: canary, method: 'POST', url: '/v1/completions', body };
      form.append('file', new Blob([JSON.stringify(line)]), `${canary}.jsonl`);
      const file = await (await leaving.fetch('/v1/files', { method: 'POST', body: form })).json();
      const { id: input_file_id } = file as { id: string };
      const wanted = { input_file_id, endpoint: '/v1/completions', completion_window: '24h' };
      expect((await leaving.post('/v1/batches', wanted)).status).toBe(200);
      expect((await leaving.post('/v1/webhooks', { url: 'http://127.0.0.1:9/', description: canary })).status).toBe(
        201,
      );
      const schedule = { cron: '@yearly', name: canary, request: { ...JOB, input: { prompt: canary } } };
      expect((await leaving.post('/v1/schedules', schedule)).status).toBe(201);
      const admin = pipeline.redis.client();
      const where = {
        redis: admin,
        folders: ['blobs', 'log', 'files'].map((name) => `${pipeline.folder}/${name}`),
        archive: `${pipeline.folder}/log/archive`,
      };
      expect((await findCanaries([canary], where)).length).toBeGreaterThan(3);

      await call('deleteTenant', { tenant: 'leaving' });
      await until(async () => (await leaving.fetch('/v1/jobs')).status === 401);
      const over = await until(async () => {
        const deletion = DeletionDocument.parse(await client.json('/v1/admin/tenants/leaving/deletion'));
        return deletion.status === 'deleted' && deletion;
      });
      await call('getTenantDeletion', { tenant: 'leaving' });
      await until(async () => (await findCanaries([canary], where)).length === 0);
      const signed = fromEnvelope(Envelope.parse({ ...over.account, payloadType: PAYLOAD_TYPE }));
      if ('refused' in signed) throw new Error(signed.refused);
      const key = pipeline.keyring.find('api', signed.keyId, Date.now());
      if ('refused' in key) throw new Error('the account is signed by nobody whom the keyring knows');
      expect(verifyPayload(key, signed, DELETION_TYPE)).toBe(true);
      const account = JSON.parse(signed.payload.toString()) as { removed: { files: number } };
      expect(account).toMatchObject({ tenant: 'leaving', removed: { batches: 1, schedules: 1, webhooks: 1, keys: 1 } });
      // The upload, and the errors of the batch where it had any line to tell of.
      expect([1, 2]).toContain(account.removed.files);
      const audit = await client.json<{ entries: { action: string; target: string; detail: unknown }[] }>(
        '/v1/admin/audit',
      );
      expect(audit.entries.find(({ action }) => action === 'tenant.deleted')).toMatchObject({
        target: 'leaving',
        detail: { sha256: sha256Hex(signed.payload) },
      });
      for (const id of [done.id, open.id]) expect(await admin.exists(pipeline.redis.keys.ticket(id))).toBe(0);
      // The name is not given again, and nobody is let in again.
      expect((await client.post('/v1/admin/tenants', { name: 'leaving' })).status).toBe(409);
      const enable = { method: 'PATCH', body: '{"disabled":false}', headers: { 'content-type': 'application/json' } };
      expect((await client.fetch('/v1/admin/tenants/leaving', enable)).status).toBe(410);
      expect((await client.fetch('/v1/admin/tenants/operator', { method: 'DELETE' })).status).toBe(400);
    },
  );

  test('every POST makes its thing once under an Idempotency-Key, or refuses the key, or makes nothing', async () => {
    for (const { id, method, path, headers } of OPERATIONS.filter((one) => one.method === 'post')) {
      const takes = Object.keys(headers?.shape ?? {}).includes('Idempotency-Key');
      const response = await client.fetch(path.replace(/\{\w+\}/g, 'none'), {
        method: method.toUpperCase(),
        headers: { 'idempotency-key': 'swept', 'content-type': 'application/json' },
        body: 'null',
      });
      const refuses = (await response.text()).includes('takes no Idempotency-Key');
      expect([id, takes, refuses]).toEqual([id, takes, !takes && !MAKES_NOTHING.has(id)]);
    }
  });

  test('what is open to everyone', async () => {
    for (const id of ['getProtectedResource', 'getProtectedResourceOfMcp'])
      expect(await answered(id)).toMatchObject({ authorization_servers: ['https://issuer.example/'] });
    for (const id of ['getKeyring', 'getLiveness', 'getReadiness', 'listLogDocuments', 'getRoot']) await call(id);
    for (const id of ['getOpenApi', 'getOpenApiAtRoot', 'getOpenApiOfVersion']) await call(id);
  });

  test('errors are problem documents, or OpenAI’s for its clients', async () => {
    expect(Problem.parse(await (await client.fetch('/v1/jobs/job_x')).json()).code).toBe('job_not_found');
    const { error } = OpenAiError.parse(await (await client.fetch('/v1/models/x')).json());
    expect(error.code).toBe('model_not_found');
    // Nobody knows who asks at an address that is none: both kinds of clients find their words.
    for (const path of ['/v2/models', '//v1/chat/completions', '/openai/deployments/x/chat/completions'])
      expect(await (await client.fetch(path)).json()).toMatchObject({ error: { code: 'route_not_found' } });
    const big = await client.post('/v1/embeddings', { model: 'use-lite', input: 'x'.repeat(6_500_000) });
    const refused = OpenAiError.parse(await big.json()).error;
    expect([big.status, refused.message]).toEqual([413, expect.stringMatching(/\d{7} bytes/)]);
  });

  wholeTest(
    'every route that answers with JSON was called above, but for the payment of a job and what MCP clients call',
    () => {
      const described = OPERATIONS.filter(({ success }) =>
        Object.values(success).some(({ type }) => type === 'application/json'),
      ).map(({ id }) => id);
      expect(described.filter((id) => !called.has(id))).toEqual([
        'getJobPayment',
        // Its official client does, in memory-jobs.whole.test.ts.
        'callMcp',
      ]);
    },
  );
});

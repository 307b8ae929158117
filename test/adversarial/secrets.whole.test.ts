import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { findCanaries } from '../support/canary.ts';
import { ModelServer } from '../support/model-server.ts';
import { Client, NOOP_MODEL, Pipeline, completion, until, type Role } from '../support/pipeline.ts';
import { PASSWORD, ROOT } from '../support/redis.ts';
import { TraceCollector } from '../support/trace-collector.ts';

const SERVER_KEY = 'sk-of-the-model-server-4711';
const WEBHOOK_PASSWORD = 'pass-of-the-receiver';

let server: ModelServer;
let collector: TraceCollector;
let pipeline: Pipeline;

beforeAll(async () => {
  [server, collector] = await Promise.all([ModelServer.start(), TraceCollector.start()]);
  pipeline = await Pipeline.prepare([NOOP_MODEL]);
  const apiKeyFile = join(pipeline.folder, 'server.key');
  writeSecretFile(apiKeyFile, `${SERVER_KEY}\n`);
  pipeline.file('models.json', { version: 1, models: [NOOP_MODEL, { ...server.model('toy', 'default'), apiKeyFile }] });
  const talkative = {
    COUNTERSIGN_LOG_LEVEL: 'trace',
    COUNTERSIGN_OTLP_ENDPOINT: collector.url,
    COUNTERSIGN_TRACE_SHARE: '1',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20token-of-the-collector',
  };
  await Promise.all([
    pipeline.api(talkative),
    pipeline.worker(1, talkative),
    pipeline.attestor(talkative),
    pipeline.courier(talkative),
  ]);
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await Promise.all([server[Symbol.asyncDispose](), collector[Symbol.asyncDispose]()]);
});

const path = (name: string) => join(pipeline.folder, name);
/** Most of the secret part of a key or token, whose form differs. */
const middleOf = (key: string) => key.slice(-24);

/** The secrets that the roles have read, each as no part of it may stand anywhere. */
function secretsOfTheRoles(): string[] {
  const keys = ['api', 'attestor', 'log', 'worker-1', 'secrets'].map(
    (name) => readFileSync(path(`${name}.key`), 'utf8').split('\n')[1] ?? '',
  );
  const memory = readFileSync(path('memory.key'), 'utf8').trim();
  return [...keys, memory, PASSWORD, SERVER_KEY, WEBHOOK_PASSWORD, 'token-of-the-collector'];
}

/** Puts a secret wherever a caller may put one by mistake. Returns all that was answered. */
async function misplace(client: Client, secret: string): Promise<string[]> {
  const inUrl = encodeURIComponent(secret);
  const at = (where: string, init: RequestInit = {}) => fetch(`${client.url}${where}`, init);
  const header = (name: string, value = secret) => ({ headers: { [name]: value } });
  const answers = await Promise.all([
    at(`/v1/${inUrl}`),
    at(`/v1/jobs/${inUrl}`, header('authorization', `Bearer ${client.key}`)),
    at(`/v1/jobs?limit=${inUrl}`, header('authorization', `Bearer ${client.key}`)),
    at('/v1/jobs', header('authorization', secret)),
    at('/v1/jobs', header('authorization', `Bearer ${secret}x`)),
    at('/v1/jobs', header('cookie', `countersign-session=${inUrl}`)),
    at('/v1/session', {
      method: 'POST',
      body: JSON.stringify({ link: secret }),
      ...header('content-type', 'application/json'),
    }),
    at('/v1/session', { method: 'POST', body: `{"key":"${secret}`, ...header('content-type', 'application/json') }),
    client.post('/v1/jobs', { ...completion('x'), [secret]: secret }),
    client.post('/v1/jobs', completion('x', { model: secret })),
    client.post('/v1/jobs', completion('x'), { traceparent: secret, 'x-request-id': secret }),
    client.post('/v1/webhooks', { url: secret, events: [secret] }),
    client.post('/v1/webhooks', { url: `https://user:${inUrl}@127.0.0.1/`, events: ['job.done'] }),
    client.post('/v1/batches', { input_file_id: secret, endpoint: secret }),
    client.post('/v1/chat/completions', { model: secret, messages: secret, user: secret }),
  ]);
  for (const { status } of answers) expect(status).toBeLessThan(500);
  return Promise.all(answers.map((answer) => answer.text()));
}

/** What an API says that cannot reach this Redis. */
async function lastWords(redisUrl: string): Promise<string> {
  const role = pipeline.launch('api', 'api', {
    ...pipeline.environment('api'),
    COUNTERSIGN_LOG_LEVEL: 'trace',
    COUNTERSIGN_REDIS_URL: redisUrl,
  });
  await role.exited;
  return role.stderr();
}

const stderrOf = (roles: readonly Role[]) => roles.map((role) => role.stderr());

test('no secret of any kind stands in a log, an error, a trace, a receipt, in Redis or in the archive', async () => {
  const operator = await pipeline.client('operator');
  const client = await pipeline.client();
  const made = async <T>(answer: Response): Promise<T> => {
    expect([answer.status, answer.ok]).toEqual([answer.status, true]);
    return (await answer.json()) as T;
  };
  const rotated = (
    await made<{ key: string }>(await operator.post(`/v1/admin/keys/${client.key.split('_')[1] ?? ''}/rotate`, {}))
  ).key;
  const { id: endpoint } = await made<{ id: string }>(
    await client.post('/v1/webhooks', { url: 'https://receiver.test/', events: ['job.done'] }),
  );
  const { secret: hook } = await made<{ secret: string }>(await client.fetch(`/v1/webhooks/${endpoint}/secret`));
  const link =
    (await made<{ path: string }>(await operator.post('/v1/session/links', {}))).path.split(/[#=/]/).at(-1) ?? '';
  const session = await fetch(`${client.url}/v1/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ key: client.key }),
  });
  const cookie = /=([\w-]{20,})/.exec(session.headers.get('set-cookie') ?? '')?.[1] ?? '';
  const invited = spawnSync(
    process.execPath,
    [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), 'workers', 'invite', '--pool', 'default', '--operator', 'cloud'],
    {
      encoding: 'utf8',
      env: {
        ...pipeline.environment('attestor'),
        COUNTERSIGN_DATA: path('keeper'),
        COUNTERSIGN_REGISTRY_KEY_FILE: path('registry.key'),
      },
    },
  );
  const token = invited.stdout.trim();
  writeFileSync(path('join.token'), token, { mode: 0o600 });
  const given = [client.key, operator.key, rotated, token].map(middleOf);
  const secrets = [...secretsOfTheRoles(), ...given, hook.replace('whsec_', ''), link, cookie];
  for (const secret of secrets) expect(secret.length).toBeGreaterThan(10);

  const said: string[] = [];
  // The words that were misplaced come back to their sender at the most.
  for (const secret of [client.key, operator.key, rotated, token, hook, link, cookie]) await misplace(client, secret);
  for (const secret of secretsOfTheRoles()) await misplace(client, secret);
  const refused = await client.submit({
    ...completion('echo'),
    model: 'toy',
    attempts: 1,
    attestation: { recompute: 0 },
  });
  const failed = await client.ended(refused.id);
  expect(failed.state).toBe('failed');
  said.push(JSON.stringify(failed));
  const done = await client.run(completion('an honest question'));
  said.push(JSON.stringify(done), (await client.receipt(done.id)).toString());
  said.push(await (await operator.fetch('/v1/admin/audit?limit=100')).text());
  said.push(await (await client.fetch('/v1/webhooks')).text());
  const wrong = pipeline.redis.url.replace('//', `//api:${WEBHOOK_PASSWORD}@`);
  said.push(await lastWords(wrong));
  await until(() => collector.spans.length > 0);
  said.push(collector.raw, ...stderrOf(pipeline.running()));
  const around = (text: string, secret: string) => {
    const at = text.indexOf(secret);
    return at < 0 ? [] : [text.slice(Math.max(0, at - 200), at + 100)];
  };
  const shown = secrets.flatMap((secret) => said.flatMap((text) => around(text, secret)));
  expect(shown).toEqual([]);
  const where = { redis: pipeline.redis.client(), folders: [path('blobs'), path('log')], archive: path('log/archive') };
  expect(await findCanaries(secrets, where)).toEqual([]);
});

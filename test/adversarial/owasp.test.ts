import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { OPERATIONS } from '../../src/roles/api/operations.ts';
import { ERROR_CATALOG } from '../../src/ground/errors/catalog.ts';
import { HOUSE, SCOPES, type Scope } from '../../src/surfaces/tenants/api-key.ts';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Tenants } from '../../src/surfaces/tenants/tenant.store.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Client, Pipeline, completion, until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { IS_WHOLE, sampleOf, wholeTest } from '../support/thorough.ts';

/**
 * The OWASP API Security Top 10 (2023), each as far as a test can hold it. The matrix below has every route
 * of the server: what a route does with a stranger is stated here for each, so that a new one cannot be
 * forgotten.
 */
type Owner =
  /** Anyone may read it, without a key. */
  | 'public'
  /** It shows or changes what belongs to the tenant of the key, and names nothing of anybody's. */
  | 'own'
  /** It names one thing of a tenant: for another tenant it is not there. */
  | 'named'
  /** It is the operator's. */
  | 'operator'
  /** It says the same to every tenant. */
  | 'shared';

const MATRIX: Record<string, Owner> = {
  'post /v1/jobs': 'own',
  'get /v1/jobs': 'own',
  'get /v1/jobs/{id}': 'named',
  'delete /v1/jobs/{id}': 'named',
  'post /v1/jobs/{id}/cancel': 'named',
  'post /v1/jobs/{id}/retry': 'named',
  'get /v1/jobs/{id}/output': 'named',
  'get /v1/jobs/{id}/receipt': 'named',
  'get /v1/jobs/{id}/payment': 'named',
  'get /v1/jobs/{id}/events': 'named',
  'get /v1/jobs/{id}/why': 'named',
  'post /v1/chat/completions': 'own',
  'post /v1/completions': 'own',
  'post /v1/embeddings': 'own',
  'post /v1/responses': 'own',
  'get /v1/responses/{response}': 'named',
  'delete /v1/responses/{response}': 'named',
  'post /v1/responses/{response}/cancel': 'named',
  'post /v1/files': 'own',
  'get /v1/files': 'own',
  'get /v1/files/{id}': 'named',
  'get /v1/files/{id}/content': 'named',
  'delete /v1/files/{id}': 'named',
  'post /v1/batches': 'own',
  'get /v1/batches': 'own',
  'get /v1/batches/{id}': 'named',
  'post /v1/batches/{id}/cancel': 'named',
  'post /v1/schedules': 'own',
  'get /v1/schedules': 'own',
  'get /v1/schedules/{schedule}': 'named',
  'patch /v1/schedules/{schedule}': 'named',
  'delete /v1/schedules/{schedule}': 'named',
  'post /v1/memories': 'own',
  'get /v1/memories': 'own',
  'get /v1/extractions/{job}': 'named',
  'get /v1/memories/{memory}/receipts': 'named',
  'post /v1/memories/search': 'own',
  'get /v1/memories/export': 'own',
  'post /v1/memories/import': 'own',
  'post /v1/memories/batch-delete': 'own',
  'get /v1/memories/{memory}': 'named',
  'get /v1/memories/{memory}/history': 'named',
  'patch /v1/memories/{memory}': 'named',
  'delete /v1/memories/{memory}': 'named',
  'get /v1/owners': 'own',
  'get /v1/owners/{owner}/profile': 'named',
  'get /v1/owners/{owner}/readers': 'named',
  'delete /v1/owners/{owner}': 'named',
  'post /mcp': 'shared',
  'get /mem0/{path}': 'shared',
  'post /mem0/{path}': 'shared',
  'put /mem0/{path}': 'shared',
  'delete /mem0/{path}': 'shared',
  'get /v1/events': 'own',
  'post /v1/webhooks': 'own',
  'get /v1/webhooks': 'own',
  'get /v1/webhooks/default/secret': 'own',
  'post /v1/webhooks/default/rotate': 'own',
  'get /v1/webhooks/{webhook}': 'named',
  'get /v1/webhooks/{webhook}/secret': 'named',
  'patch /v1/webhooks/{webhook}': 'named',
  'delete /v1/webhooks/{webhook}': 'named',
  'post /v1/webhooks/{webhook}/rotate': 'named',
  'post /v1/webhooks/{webhook}/test': 'named',
  'get /v1/webhooks/{webhook}/deliveries': 'named',
  'get /v1/jobs/{id}/deliveries': 'named',
  'post /v1/deliveries/{delivery}/redeliver': 'named',
  'post /v1/quote': 'own',
  'get /v1/usage': 'own',
  'get /v1/ledger': 'own',
  'get /v1/ledger/periods': 'own',
  'get /v1/tenant': 'own',
  'post /v1/keys': 'own',
  'get /v1/keys': 'own',
  'get /v1/keys/{key}': 'named',
  'patch /v1/keys/{key}': 'named',
  'post /v1/keys/{key}/rotate': 'named',
  'delete /v1/keys/{key}': 'named',
  'get /v1/keys/{key}/work': 'named',
  'post /v1/admin/tenants': 'operator',
  'get /v1/admin/tenants': 'operator',
  'get /v1/admin/tenants/{tenant}': 'operator',
  'patch /v1/admin/tenants/{tenant}': 'operator',
  'delete /v1/admin/tenants/{tenant}': 'operator',
  'get /v1/admin/tenants/{tenant}/deletion': 'operator',
  'post /v1/admin/tenants/{tenant}/keys': 'operator',
  'get /v1/admin/tenants/{tenant}/keys': 'operator',
  'post /v1/admin/keys/{key}/rotate': 'operator',
  'delete /v1/admin/keys/{key}': 'operator',
  'patch /v1/admin/keys/{key}': 'operator',
  'get /v1/admin/keys/{key}/work': 'operator',
  'get /v1/audit': 'own',
  'get /v1/admin/audit': 'operator',
  'get /v1/admin/audit/export': 'operator',
  'get /v1/admin/jobs/stuck': 'operator',
  'get /v1/admin/pools': 'operator',
  'get /v1/admin/pools/{pool}': 'operator',
  'patch /v1/admin/pools/{pool}': 'operator',
  'post /v1/admin/pools/{pool}/empty': 'operator',
  'get /v1/workers': 'operator',
  'get /v1/models': 'shared',
  'get /v1/models/{model}': 'shared',
  'get /.well-known/countersign.json': 'public',
  'get /.well-known/oauth-protected-resource': 'public',
  'get /.well-known/oauth-protected-resource/mcp': 'public',
  'get /log/checkpoint': 'public',
  'get /log/documents': 'public',
  'get /log/tile/{path}': 'public',
  'get /health/live': 'public',
  'get /health/ready': 'public',
  'get /metrics': 'public',
  'get /metrics/shard': 'public',
  'get /docs': 'public',
  'get /docs/openapi.json': 'public',
  'get /docs/try-out.js': 'public',
  'get /verify': 'public',
  'get /verify/checker.css': 'public',
  'get /verify/checker.js': 'public',
  'get /openapi.json': 'public',
  'get /v1/openapi.json': 'public',
  'get /v1/admin/overview': 'operator',
  'get /v1/admin/history': 'operator',
  'get /v1/admin/live': 'operator',
  'post /v1/session': 'public',
  'get /v1/session': 'own',
  'delete /v1/session': 'own',
  'post /v1/session/links': 'own',
  'get /dashboard/{file}': 'public',
  'get /': 'public',
};

/** Callers of two tenants: `their…` are of the one that has nothing to do with the victim. */
const CALLERS = {
  operator: SCOPES,
  administrator: ['tenant_admin'],
  member: ['submit', 'read'],
  reader: ['read'],
  auditor: ['read_all', 'read'],
  theirAdministrator: ['tenant_admin'],
  theirMember: ['submit', 'read'],
  theirAuditor: ['read_all', 'read'],
} as const satisfies Record<string, readonly Scope[]>;
type CallerName = keyof typeof CALLERS;

/** Routes on which a key reaches what another key of its tenant made, by the scope that it takes. */
const REACH: readonly { readonly of: RegExp; readonly by: Scope }[] = [
  // It asks anew what whoever asks may read.
  { of: /^post \/v1\/jobs\/\{id\}\/retry$/, by: 'read_all' },
  { of: /^get \/v1\/(jobs|responses|files|batches|schedules|memories|extractions)\/\{/, by: 'read_all' },
  { of: /^get \/v1\/owners\/\{owner\}\/profile$/, by: 'read_all' },
  { of: /^(post|patch|delete) \/v1\/(jobs|responses|files|batches|schedules|memories)\/\{/, by: 'tenant_admin' },
];

/**
 * What a caller is answered on a route that names a thing which the victim's key made: refused for its power,
 * not found, or let in.
 */
function expectedOf(name: string, scope: Scope | null, caller: CallerName): 'refused' | 'not found' | 'let in' {
  const scopes: readonly Scope[] = CALLERS[caller];
  if (scope === null) return 'let in';
  if (!scopes.includes(scope)) return 'refused';
  if (MATRIX[name] !== 'named') return 'let in';
  if (caller === 'operator' || caller.startsWith('their')) return 'not found';
  const reach = REACH.find(({ of }) => of.test(name));
  return reach === undefined || scopes.includes(reach.by) ? 'let in' : 'not found';
}

const CANARY = 'canary-of-the-victim';

let pipeline: Pipeline;
let victim: Client;
let victimAdmin: Client;
let stranger: Client;
let operator: Client;
/** Keys by what they may do: of the victim's tenant and of another. Each was used for nothing. */
let callers: Record<CallerName, string>;
/** Things of the victim, by the name of the path parameter and the noun before it. */
let things: Record<string, string>;

const TENANT_SCOPES = SCOPES.filter((scope) => scope !== 'operator');

const json = async <T>(response: Promise<Response>): Promise<T> => (await (await response).json()) as T;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  const env = { COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' };
  await Promise.all([pipeline.api(env), pipeline.worker(1), pipeline.attestor(), pipeline.courier(env)]);
  victim = new Client(pipeline.url, await pipeline.key('victim', ['submit', 'read']));
  victimAdmin = new Client(pipeline.url, await pipeline.key('victim', ['tenant_admin']));
  stranger = new Client(pipeline.url, await pipeline.key('stranger'));
  const tenantOf = (name: CallerName) =>
    name === 'operator' ? HOUSE : name.startsWith('their') ? 'stranger' : 'victim';
  callers = Object.fromEntries(
    await Promise.all(
      (Object.keys(CALLERS) as CallerName[]).map(async (name) => [
        name,
        await pipeline.key(tenantOf(name), CALLERS[name]),
      ]),
    ),
  ) as Record<CallerName, string>;
  const [redis, { keys }] = [pipeline.redis.client('api'), pipeline.redis];
  const tenants = new Tenants(redis, keys, new AuditLog(redis, keys));
  for (const name of ['victim', 'stranger', HOUSE]) await tenants.create('test', name, {});
  operator = await pipeline.client('operator');
  const webhook = await json<{ id: string }>(
    victimAdmin.post('/v1/webhooks', { url: 'http://127.0.0.1:9/', description: CANARY }),
  );
  const job = await victim.run(completion(CANARY));
  const response = await json<{ id: string }>(
    victim.post('/v1/responses', { model: 'by-hand', input: CANARY, background: true }),
  );
  const form = new FormData();
  form.append('purpose', 'batch');
  form.append(
    'file',
    new Blob([
      JSON.stringify({
        custom_id: CANARY,
        method: 'POST',
        url: '/v1/completions',
        body: { model: 'by-hand', prompt: CANARY },
      }),
    ]),
    `${CANARY}.jsonl`,
  );
  const file = await json<{ id: string }>(victim.fetch('/v1/files', { method: 'POST', body: form }));
  const batch = await json<{ id: string }>(
    victim.post('/v1/batches', { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' }),
  );
  const delivery = await json<{ id: string }>(victimAdmin.post(`/v1/webhooks/${webhook.id}/test`, undefined));
  const schedule = await json<{ id: string }>(
    victim.post('/v1/schedules', { cron: '@yearly', name: CANARY, request: completion(CANARY) }),
  );
  const remembered = await json<{ memories: { memory: { id: string } }[] }>(
    victim.post('/v1/memories', { owner: 'ann', text: CANARY, infer: false }),
  );
  const extraction = await json<{ job: string }>(
    victim.post('/v1/memories', { owner: 'ann', text: CANARY, model: 'noop' }),
  );
  things = {
    extractions: extraction.job,
    memories: remembered.memories[0]?.memory.id ?? '',
    owners: 'ann',
    jobs: job.id,
    schedules: schedule.id,
    files: file.id,
    batches: batch.id,
    webhooks: webhook.id,
    deliveries: delivery.id,
    tenants: 'victim',
    pools: 'default',
    keys: victim.key.split('_')[1] ?? '',
    models: 'noop',
    responses: response.id,
    tile: '0/000.p/1',
    mem0: 'v1/ping/',
    dashboard: readdirSync(join(ROOT, 'dist', 'dashboard')).find((name) => name.endsWith('.css')) ?? '',
  };
});
afterAll(() => pipeline[Symbol.asyncDispose]());

/** The path with the victim's things, or with things that nobody has. */
function pathOf(path: string, whose: 'victim' | 'nobody'): string {
  return path.replace(/([a-z]+\d?)\/\{(\w+)\}/, (_, noun: string) => {
    const thing = things[noun] ?? '';
    if (whose === 'victim') return `${noun}/${thing}`;
    return `${noun}/${thing.replace(/[0-9a-f](?=[0-9a-z]{0,3}$)/g, '0').replace(/.$/, (last) => (last === '0' ? '1' : '0'))}`;
  });
}

async function call(url: string, method: string, headers: Record<string, string>) {
  const controller = new AbortController();
  const response = await fetch(url, { method: method.toUpperCase(), headers, signal: controller.signal });
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const text = isStream ? '' : await response.text();
  controller.abort();
  return { status: response.status, text };
}
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe('OWASP API Top 10', () => {
  test('API9: every route of the server is described, and stands in the matrix', () => {
    const described = OPERATIONS.map(({ method, path }) => `${method} ${path}`).toSorted();
    expect(Object.keys(MATRIX).toSorted()).toEqual(described);
    const controllers = readdirSync(join(ROOT, 'src', 'roles', 'api')).filter((name) =>
      name.endsWith('.controller.ts'),
    );
    const handlers = controllers.flatMap((name) => [
      ...readFileSync(join(ROOT, 'src', 'roles', 'api', name), 'utf8').matchAll(/@(Get|Post|Put|Patch|Delete|All)\(/g),
    ]);
    expect(handlers).toHaveLength(described.length);
  });

  test.each(sampleOf(Object.keys(MATRIX), IS_WHOLE ? 1 : 5))(
    'API1, API2, API5: %s with no key, a wrong one, a revoked one, a lesser one, a foreign one',
    async (name) => {
      const operation = OPERATIONS.find(({ method, path }) => `${method} ${path}` === name);
      const owner = MATRIX[name];
      if (operation === undefined) throw new Error(`${name} is not a route`);
      const { method, path, scope } = operation;
      const url = `${pipeline.url}${pathOf(path, 'victim')}`;
      if (owner === 'public') {
        expect(scope).toBeNull();
        const { status, text } = await call(url, method, {});
        expect([401, 403]).not.toContain(status);
        expect(text).not.toContain(CANARY);
        return;
      }
      const keys = new ApiKeys(pipeline.redis.client('api'), pipeline.redis.keys);
      const revoked = await keys.create('test', { tenant: 'victim', scopes: TENANT_SCOPES });
      await keys.revoke('test', revoked.keyId);
      const expired = await keys.create('test', {
        tenant: 'victim',
        scopes: TENANT_SCOPES,
        expiresAt: new Date(Date.now() - 1_000).toISOString(),
      });
      for (const headers of [
        {},
        bearer('x'),
        bearer(`csk_${'0'.repeat(16)}_${'A'.repeat(43)}`),
        bearer(revoked.text),
        bearer(expired.text),
        { authorization: `Basic ${victim.key}` },
        { 'x-api-key': victim.key },
        { cookie: `key=${victim.key}` },
      ])
        expect([headers, (await call(url, method, headers as Record<string, string>)).status]).toEqual([headers, 401]);
      expect((await call(`${url}?api_key=${victim.key}&key=${victim.key}`, method, {})).status).toBe(401);

      const short = await keys.create('test', {
        tenant: 'victim',
        scopes: TENANT_SCOPES.filter((one) => one !== scope),
      });
      expect((await call(url, method, bearer(short.text))).status).toBe(403);

      if (owner === 'named') {
        const theirs = await call(url, method, bearer(stranger.key));
        const nobodys = await call(`${pipeline.url}${pathOf(path, 'nobody')}`, method, bearer(stranger.key));
        expect([theirs.status, theirs.text]).toEqual([404, nobodys.text]);
        expect(nobodys.status).toBe(404);
      } else if (owner === 'own' || owner === 'shared') {
        expect((await call(url, method, bearer(stranger.key))).text).not.toContain(CANARY);
      }
    },
  );

  // Who may do it is let in with a name that nobody has where it would change something, and else with the
  // victim's.
  test.each(sampleOf(Object.keys(MATRIX), IS_WHOLE ? 1 : 5))(
    'API1, API5: %s by operator, administrator, member, reader and those of another tenant',
    async (name) => {
      const operation = OPERATIONS.find(({ method, path }) => `${method} ${path}` === name);
      if (operation === undefined) throw new Error(`${name} is not a route`);
      const { method, path, scope } = operation;
      for (const caller of Object.keys(CALLERS) as CallerName[]) {
        const expected = expectedOf(name, scope, caller);
        const changes = method !== 'get' && expected === 'let in';
        const { status, text } = await call(
          `${pipeline.url}${pathOf(path, changes ? 'nobody' : 'victim')}`,
          method,
          bearer(callers[caller]),
        );
        // The job and the tenant are there, and the one was not paid for, the other not deleted.
        const isEmpty = text.includes('payment_not_found') || text.includes('that is being deleted');
        const answered = status === 403 ? 'refused' : status === 404 && !isEmpty ? 'not found' : 'let in';
        // A change to what nobody has is either not found or, without a body, no request.
        if (changes && path.includes('{')) expect([name, caller, answered]).not.toContain('refused');
        else expect([name, caller, answered]).toEqual([name, caller, expected]);
        if (expected !== 'let in') expect(text).not.toContain(CANARY);
      }
    },
  );

  test('API1: a key lists and finds what it made itself, and only with read_all what others of its tenant made', async () => {
    const member = new Client(pipeline.url, callers.member);
    const auditor = new Client(pipeline.url, callers.auditor);
    const own = await member.submit(completion('of the member'), { 'idempotency-key': 'once' });
    expect((await member.json<{ jobs: { id: string }[] }>('/v1/jobs')).jobs.map(({ id }) => id)).toEqual([own.id]);
    for (const [path, noun] of [
      ['/v1/jobs?limit=100', 'jobs'],
      ['/v1/files', 'files'],
      ['/v1/batches', 'batches'],
      ['/v1/schedules', 'schedules'],
      ['/v1/memories?owner=ann', 'memories'],
    ] as const) {
      const text = async (who: Client) => (await who.fetch(path)).text();
      expect(await text(member)).not.toContain(things[noun]);
      expect(await text(auditor)).toContain(things[noun]);
    }
    // An administrator changes what it does not read: it sees no prompt, and makes no answers its own.
    const manager = new Client(pipeline.url, await pipeline.key('victim', ['submit', 'tenant_admin']));
    const schedule = `/v1/schedules/${things['schedules'] ?? ''}`;
    for (const paused of [true, false]) {
      const response = await manager.fetch(schedule, {
        method: 'PATCH',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ paused }),
      });
      expect([response.status, await response.json()]).toMatchObject([200, { request: null, key: things['keys'] }]);
    }
    // The same request under the same Idempotency-Key, by another key of the tenant: not the other's answer.
    const again = await victim.post('/v1/jobs', completion('of the member'), { 'idempotency-key': 'once' });
    expect([again.status, await again.text()]).toEqual([422, expect.not.stringContaining(own.id)]);
    // An answer of another key is no item of a request.
    const item = `msg_${(things['jobs'] ?? '').slice(4)}`;
    const request = { model: 'noop', input: [{ type: 'item_reference', id: item }] };
    expect((await member.post('/v1/responses', request)).status).toBe(400);
  });

  test('API5: a rotated key reads what it made before, and its successor lives no longer than it would have', async () => {
    const expires_at = new Date(Date.now() + 3_600_000).toISOString();
    const { key } = await json<{ key: string }>(
      operator.post('/v1/admin/tenants/victim/keys', { scopes: ['submit', 'read', 'tenant_admin'], expires_at }),
    );
    const before = new Client(pipeline.url, key);
    const job = await before.submit(completion('before'));
    const id = key.split('_')[1] ?? '';
    const rotated = await json<{ key: string; expires_at: string }>(before.post(`/v1/keys/${id}/rotate`, {}));
    expect(rotated.expires_at).toBe(expires_at);
    const after = new Client(pipeline.url, rotated.key);
    expect((await after.job(job.id)).id).toBe(job.id);
    // It is refused what its own key could not do, also by rotating a stronger one.
    const strong = (await pipeline.key('victim', ['read_all'])).split('_')[1] ?? '';
    expect((await after.post(`/v1/keys/${strong}/rotate`, {})).status).toBe(403);
    expect((await after.post('/v1/keys', { scopes: ['read_all'] })).status).toBe(403);
    const made = await json<{ expires_at: string }>(after.post('/v1/keys', { scopes: ['read'] }));
    expect(made.expires_at).toBe(expires_at);
  });

  test('API6: the open work of a stolen key is stopped with it, batches too, and what it made is shown', async () => {
    const stolen = new Client(pipeline.url, await pipeline.key('victim', ['submit', 'read']));
    const id = stolen.key.split('_')[1] ?? '';
    const jobs = await Promise.all([1, 2, 3].map((n) => stolen.submit(completion(`${n}`, { model: 'by-hand' }))));
    const form = new FormData();
    form.append('purpose', 'batch');
    const line = { custom_id: 'a', method: 'POST', url: '/v1/completions', body: { model: 'by-hand', prompt: 'x' } };
    form.append('file', new Blob([JSON.stringify(line)]), 'lines.jsonl');
    const file = await json<{ id: string }>(stolen.fetch('/v1/files', { method: 'POST', body: form }));
    const wanted = { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' };
    const batch = await json<{ id: string }>(stolen.post('/v1/batches', wanted));
    const kept = new Client(pipeline.url, await pipeline.key('victim', ['submit', 'read', 'read_all']));
    const keptBatch = await json<{ id: string }>(kept.post('/v1/batches', wanted));
    const keptKey = kept.key.split('_')[1] ?? '';
    expect((await victimAdmin.fetch(`/v1/keys/${keptKey}?work=keep`, { method: 'DELETE' })).status).toBe(200);
    const work = () =>
      victimAdmin.json<{ jobs: { id: string; state: string }[]; batches: { id: string; status: string }[] }>(
        `/v1/keys/${id}/work?limit=100`,
      );
    const shown = await work();
    expect(shown.jobs.map((job) => job.id)).toEqual(expect.arrayContaining(jobs.map((job) => job.id)));
    expect(shown.batches.map((one) => one.id)).toEqual([batch.id]);
    expect(JSON.stringify(shown)).not.toContain('of the member');
    expect((await victimAdmin.fetch(`/v1/keys/${id}?work=stop`, { method: 'DELETE' })).status).toBe(200);
    await until(async () => {
      const { jobs: now, batches } = await work();
      return now.every(({ state }) => state === 'cancelled') && batches.every(({ status }) => status === 'cancelled');
    });
    const auditor = new Client(pipeline.url, callers.auditor);
    const stopped = await auditor.json(`/v1/batches/${batch.id}`);
    expect(stopped).toMatchObject({ errors: { data: [{ code: 'batch_revoked' }] } });
    // Nobody else's work was touched, nor that of a key whose work is kept.
    const other = await auditor.json<{ status: string }>(`/v1/batches/${keptBatch.id}`);
    expect(['validating', 'in_progress']).toContain(other.status);
    const others = await json<{ status: string }>(victim.fetch(`/v1/batches/${things['batches'] ?? ''}`));
    expect(['validating', 'in_progress']).toContain(others.status);
  });

  test('API5: the scope operator is worth nothing on a key of a tenant, even where somebody wrote it there', async () => {
    const key = await pipeline.key('victim', ['read']);
    const { redis } = pipeline;
    await redis.client().hset(redis.keys.apiKey(key.split('_')[1] ?? ''), 'scopes', SCOPES.join(' '));
    expect((await call(`${pipeline.url}/v1/tenant`, 'get', bearer(key))).status).toBe(200);
    expect((await call(`${pipeline.url}/v1/admin/tenants`, 'get', bearer(key))).status).toBe(403);
    for (const tenant of ['victim', 'stranger'])
      expect((await operator.post(`/v1/admin/tenants/${tenant}/keys`, { scopes: ['operator'] })).status).toBe(400);
    expect((await victimAdmin.post('/v1/keys', { scopes: ['operator'] })).status).toBe(403);
  });

  test('API1: after all that, everything of the victim is as it was', async () => {
    for (const path of [
      `/v1/jobs/${things['jobs'] ?? ''}`,
      `/v1/files/${things['files'] ?? ''}`,
      `/v1/batches/${things['batches'] ?? ''}`,
      `/v1/schedules/${things['schedules'] ?? ''}`,
    ])
      expect([path, (await victim.fetch(path)).status]).toEqual([path, 200]);
    for (const path of [`/v1/webhooks/${things['webhooks'] ?? ''}`, `/v1/keys/${things['keys'] ?? ''}`])
      expect([path, (await victimAdmin.fetch(path)).status]).toEqual([path, 200]);
    const batch = await json<{ status: string }>(victim.fetch(`/v1/batches/${things['batches'] ?? ''}`));
    expect(['validating', 'in_progress']).toContain(batch.status);
    const webhook = await json<{ disabled_at: null }>(victimAdmin.fetch(`/v1/webhooks/${things['webhooks'] ?? ''}`));
    expect(webhook.disabled_at).toBeNull();
  });

  test('API3: no body can set what is not the caller’s to set', async () => {
    for (const [path, body] of [
      ['/v1/jobs', completion('x', { tenant: 'victim' })],
      ['/v1/jobs', completion('x', { state: 'done' })],
      ['/v1/jobs', completion('x', { id: things['jobs'] })],
      ['/v1/jobs', completion('x', { price: { hold: 0 } })],
      ['/v1/chat/completions', { model: 'noop', messages: [{ role: 'user', content: 'x' }], tenant: 'victim' }],
      [
        '/v1/batches',
        { input_file_id: things['files'], endpoint: '/v1/completions', completion_window: '24h', tenant: 'victim' },
      ],
      ['/v1/webhooks', { url: 'http://127.0.0.1:9/', generation: 7 }],
      ['/v1/webhooks', { url: 'http://127.0.0.1:9/', id: things['webhooks'] }],
    ] as const)
      expect([path, (await stranger.post(path, body)).status]).toEqual([path, 400]);
    const seen = await (await victim.fetch(`/v1/jobs/${things['jobs'] ?? ''}`)).text();
    expect(seen).not.toMatch(/nonce|csk_|hash|password/);
    const keys = await (await operator.fetch('/v1/admin/tenants/victim/keys')).text();
    expect(keys).not.toMatch(/hash|csk_/);
  });

  wholeTest('API4: lists, strings and numbers have bounds on every route that takes a body or a query', async () => {
    const huge = 'x'.repeat(5_000_000);
    for (const { method, path, body } of OPERATIONS.filter((one) => one.body !== undefined)) {
      expect(body).toBeDefined();
      const url = `${pipeline.url}${pathOf(path, 'victim')}`;
      const send = (text: string) =>
        fetch(url, {
          method: method.toUpperCase(),
          headers: { ...bearer(operator.key), 'content-type': 'application/json' },
          body: text,
        });
      for (const [text, statuses] of [
        [`{"a":"${huge}"}`, [413]],
        ['['.repeat(50_000) + ']'.repeat(50_000), [400]],
        ['{"__proto__":{"x":1}}', [400, 404]],
        ['{"a":1,"a":2}', [400, 404]],
        ['null', [400, 404]],
        ['"x"', [400, 404]],
        // Nothing is enough for what has a default for everything.
        ['', [200, 201, 400, 404, 409]],
        [JSON.stringify({ name: huge.slice(0, 100_000) }), [400, 404]],
      ] as const) {
        // Whoever sends too much may find the connection closed before all of it is out.
        const response = await send(text).catch((error: unknown) => {
          if (text.length < 5_000_000) throw error;
        });
        if (response === undefined) continue;
        const answer = await response.text();
        expect([path, text.slice(0, 20), statuses]).toEqual([
          path,
          text.slice(0, 20),
          (statuses as readonly number[]).includes(response.status)
            ? statuses
            : [response.status, answer.slice(0, 200)],
        ]);
        expect(answer).not.toMatch(/at .*\.(js|ts):\d|node_modules/);
      }
    }
    for (const query of ['limit=0', 'limit=-1', 'limit=999999999', 'limit=x', 'nonsense=1'])
      for (const path of ['/v1/jobs', '/v1/files', '/v1/batches', '/v1/admin/audit', '/v1/usage'])
        expect([path, query, (await operator.fetch(`${path}?${query}`)).status]).toEqual([path, query, 400]);
  });

  test('API6: a tenant cannot pile up files, batches or endpoints without end', async () => {
    const hoarder = new Client(pipeline.url, await pipeline.key('hoarder', ['tenant_admin']));
    const statuses = new Set<number>();
    for (let n = 0; n < 25; n += 1)
      statuses.add((await hoarder.post('/v1/webhooks', { url: 'http://127.0.0.1:9/' })).status);
    expect([...statuses]).toEqual([201, 429]);
  });

  test('API7: an API that was not told otherwise sends nothing to its own network', async () => {
    const strict = await pipeline.run('strict', 'api', pipeline.environment('api'));
    const client = new Client(String(strict.facts['url']), stranger.key);
    for (const url of ['http://example.com/', 'https://127.0.0.1/', 'https://[::1]/', 'https://169.254.169.254/']) {
      expect((await client.post('/v1/webhooks', { url })).status).toBe(422);
      expect((await client.post('/v1/jobs', completion('x', { webhook: { url } }))).status).toBe(422);
    }
    strict.process.kill('SIGTERM');
    await strict.exited;
  });

  test('API8: errors tell no secrets, other methods and origins get nothing', async () => {
    for (const { path } of OPERATIONS.slice(0, 20)) {
      const url = `${pipeline.url}${pathOf(path, 'victim')}`;
      const preflight = await fetch(url, { method: 'OPTIONS', headers: { origin: 'https://evil.example' } });
      // What anybody may verify with is open to every page, and never with a login of the browser.
      const isOpen = /^\/(\.well-known\/countersign\.json|log\/.+|v1\/jobs\/[^/]+\/receipt)$/.test(path);
      expect(preflight.headers.get('access-control-allow-origin')).toBe(isOpen ? '*' : null);
      expect(preflight.headers.get('access-control-allow-credentials')).toBeNull();
      const trace = await call(url, 'PUT', bearer(victim.key));
      expect([404, 405, 400, 415]).toContain(trace.status);
    }
    const answer = await victim.fetch('/v1/jobs');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('x-powered-by')).toBeNull();
    expect(Object.keys(ERROR_CATALOG).length).toBeGreaterThan(20);
  });

  test('API10: what a webhook receiver answers is never shown to the tenant', async () => {
    const log = await until(async () => {
      const text = await (await victimAdmin.fetch(`/v1/webhooks/${things['webhooks'] ?? ''}/deliveries`)).text();
      return text.includes('No connection') && text;
    });
    expect(log).not.toContain('thank you');
  });
});

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  ClientCredentialsProvider,
  Client as McpClient,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Mcp } from '../support/mcp.ts';
import { Client, NOOP_MODEL, Pipeline, until } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';
import { TokenIssuer } from '../support/token-issuer.ts';

let issuer: TokenIssuer;
let pipeline: Pipeline;
let keys: ApiKeys;
let resource: string;
const made: Record<string, { text: string; keyId: string }> = {};

beforeAll(async () => {
  [issuer, pipeline] = await Promise.all([TokenIssuer.start(), Pipeline.prepare([NOOP_MODEL])]);
  keys = new ApiKeys(pipeline.redis.client('api'), pipeline.redis.keys);
  for (const [name, scopes] of [
    ['agent', ['submit', 'read']],
    ['person', ['submit', 'read', 'read_all', 'tenant_admin']],
    ['submitter', ['submit', 'tenant_admin']],
  ] as const)
    made[name] = await keys.create('test', { tenant: 'acme', scopes });
  const port = String(await fixedPort());
  resource = `http://127.0.0.1:${port}/mcp`;
  const terms = issuer.terms(resource, [
    { claims: { client_id: 'agent' }, key: made['agent']?.keyId },
    { claims: { client_id: 'submitter' }, key: made['submitter']?.keyId },
    { claims: { org: 'acme' }, key: made['person']?.keyId, owner: 'sub' },
  ]);
  const oauth = { COUNTERSIGN_MCP_OAUTH: pipeline.file('mcp-oauth.json', terms), COUNTERSIGN_PORT: port };
  // No keys can be had at first.
  issuer.manner = 'away';
  await Promise.all([pipeline.api(oauth), pipeline.attestor()]);
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const LIST = { jsonrpc: '2.0', id: 1, method: 'tools/list' };

/** What `POST` of this message is answered. */
async function asked(token: string, more: Record<string, string> = {}, path = '/mcp') {
  const type = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const init = {
    method: 'POST',
    headers: { ...type, authorization: `Bearer ${token}`, ...more },
    body: JSON.stringify(LIST),
  };
  const answer = await fetch(`${pipeline.url}${path}`, init);
  const text = await answer.text();
  const [, code = ''] = /"code":"(\w+)"/.exec(text) ?? [];
  return { status: answer.status, code, challenge: answer.headers.get('www-authenticate') };
}

const person = (sub: string) => issuer.token({ sub, org: 'acme', aud: resource });

test('an issuer that is away is said so, and API keys go on working', async () => {
  expect(await asked(await person('ann'))).toMatchObject({ status: 503, code: 'issuer_away' });
  expect(await asked(made['agent']?.text ?? '')).toMatchObject({ status: 200 });
  issuer.manner = 'keys';
  await until(async () => (await asked(await person('ann'))).status === 200);
});

test('the official client finds out where tokens come from, gets one, and acts with the key of its caller', async () => {
  const authProvider = new ClientCredentialsProvider({
    clientId: 'agent',
    clientSecret: 'a secret',
    expectedIssuer: issuer.url,
  });
  const client = new McpClient({ name: 'test', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(resource), { authProvider }));
  const { structuredContent } = await client.callTool({
    name: 'submit_job',
    arguments: { model: 'noop', prompt: 'x', wait_s: 0 },
  });
  await client.close();
  const { job } = structuredContent as { job: { id: string } };
  const agent = new Client(pipeline.url, made['agent']?.text ?? '');
  expect(await agent.job(job.id)).toMatchObject({ id: job.id });
  const other = new Client(pipeline.url, await pipeline.key('acme', ['read']));
  expect((await other.fetch(`/v1/jobs/${job.id}`)).status).toBe(404);
});

test('a token reaches the memories of nobody but the owner that it names, and no other address', async () => {
  const token = await person('ann');
  await using mcp = await Mcp.overHttp(pipeline.url, token);
  await expect(mcp.call('recall', { owner: 'bob', query: 'x' })).rejects.toThrow('owner');
  // No role with memories runs here: the call went out for Ann.
  await expect(mcp.call('recall', { query: 'x' })).rejects.toThrow('memory_unavailable');
  expect(await asked(token, { 'countersign-memory': 'ann' })).toMatchObject({ status: 200 });
  expect(await asked(token, { 'countersign-memory': 'bob' })).toMatchObject({ status: 403, code: 'token_refused' });
  for (const path of ['/v1/jobs', '/v1/memories/search', '/v1/keys'])
    expect([path, (await asked(token, {}, path)).status]).toEqual([path, 401]);
});

test('whoever has no valid token is told where tokens come from', async () => {
  const where = `resource_metadata="${pipeline.url}/.well-known/oauth-protected-resource/mcp"`;
  for (const [headers, error] of [
    [{ authorization: '' }, ''],
    [{}, 'error="invalid_token", '],
    [{ authorization: `Bearer csk_${'0'.repeat(16)}_${'A'.repeat(43)}` }, 'error="invalid_token", '],
  ] as const)
    expect(await asked(await issuer.token({ sub: 'ann', org: 'acme', aud: 'x' }), headers)).toEqual({
      ...{ status: 401, code: 'unauthenticated' },
      challenge: `Bearer realm="countersign", ${error}${where}`,
    });
  for (const path of ['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp']) {
    const answer = await fetch(`${pipeline.url}${path}`, { headers: { origin: 'https://page.example' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(await answer.json()).toMatchObject({ resource, authorization_servers: [issuer.url] });
  }
});

test('a token has no more than its key, and nothing once the key is revoked', async () => {
  const submitter = await issuer.token({ client_id: 'submitter', aud: resource });
  expect(await asked(submitter)).toMatchObject({ status: 403, code: 'scope_missing' });
  expect(await asked(await issuer.token({ sub: 'x', aud: resource }))).toMatchObject({ code: 'token_refused' });
  const token = await person('ann');
  expect(await asked(token)).toMatchObject({ status: 200 });
  await keys.revoke('test', made['person']?.keyId ?? '');
  await until(async () => (await asked(token)).code === 'token_refused');
});

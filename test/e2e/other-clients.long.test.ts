import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { Client, NOOP_MODEL, Pipeline, until } from '../support/pipeline.ts';
import { longTest } from '../support/thorough.ts';

const run = promisify(execFile);
/** Clients of other makers, each unchanged; they bring a hundred packages that nothing else here needs. */
const PACKAGES = ['mem0ai@3.3.1', '@modelcontextprotocol/sdk@1.32.2'];

let pipeline: Pipeline | undefined;
let client: Client;
let folder: string;

beforeAll(async () => {
  if (process.env['COUNTERSIGN_TEST_LONG'] !== '1') return;
  folder = mkdtempSync(join(tmpdir(), 'cs-clients-'));
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
  const install = ['install', '--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', ...PACKAGES];
  await run('npm', install, { cwd: folder });
  pipeline = await Pipeline.prepare([NOOP_MODEL]);
  await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.attestor(), pipeline.courier()]);
  client = await pipeline.client();
  await until(async () => (await client.fetch('/v1/owners')).status === 200, 600_000);
});
afterAll(async () => {
  if (pipeline === undefined) return;
  await pipeline[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** Runs a program where the clients are installed; it has `url` and `key`, and prints JSON. */
async function inClients(program: string): Promise<unknown> {
  const file = join(folder, 'program.mjs');
  writeFileSync(file, `const [url, key] = process.argv.slice(2);\n${program}`);
  const env = { ...process.env, MEM0_TELEMETRY: 'false' };
  const { stdout } = await run(process.execPath, [file, client.url, client.key], { cwd: folder, env });
  return JSON.parse(stdout);
}

longTest("Mem0's own client adds, finds, lists, corrects and erases by another base alone", async () => {
  const found = await inClients(`
    import { MemoryClient } from 'mem0ai';
    const memory = new MemoryClient({ apiKey: key, host: url + '/mem0' });
    await memory.initialized;
    const said = [{ role: 'user', content: 'I am allergic to nuts.' }, { role: 'assistant', content: 'Noted: no nuts.' }];
    const added = await memory.add(said, { userId: 'ann', agentId: 'cook', runId: 'r1', infer: false, metadata: { myKey: 1 } });
    const again = await memory.add(said.slice(0, 1), { userId: 'ann', agentId: 'cook', runId: 'r1', infer: false });
    await memory.add('Ben hates nuts.', { userId: 'ben', infer: false });
    const inferred = await memory.add(said, { userId: 'ann' });
    const search = await memory.search('allergic to nuts', { filters: { AND: [{ user_id: 'ann' }, { agent_id: 'cook' }] }, topK: 5 });
    const id = added.results[0].id;
    const one = await memory.get(id);
    const updated = await memory.update(id, { text: 'I am allergic to peanuts.', metadata: { myKey: 2 } });
    const history = await memory.history(id);
    const page = await memory.getAll({ filters: { user_id: 'ann' }, page: 1, pageSize: 1 });
    const all = await memory.getAll({ filters: { user_id: 'ann' } });
    await memory.batchUpdate([{ memoryId: id, text: 'No peanuts.' }]);
    const deleted = await memory.delete(added.results[1].id);
    const users = await memory.users();
    const refused = [];
    for (const act of [
      () => memory.search('x', { filters: { OR: [{ user_id: '*' }] } }),
      () => memory.search('x', { filters: { user_id: 'ann' }, threshold: 0.5 }),
      () => memory.getAll(),
      () => memory.add('x', { agentId: 'cook', infer: false }),
      () => memory.get('mem_0'),
      () => memory.getWebhooks({ projectId: 'x' }),
    ])
      refused.push(await act().then(() => 'let in', (error) => error.message));
    await memory.batchDelete([id]);
    await memory.deleteAll({ userId: 'ann' });
    const left = await memory.getAll({ filters: { user_id: 'ann' } });
    const gone = await memory.deleteUsers({ userId: 'ben' });
    const after = await memory.users();
    console.log(JSON.stringify({ added, again, inferred, search, one, updated, history, page, all, deleted, users, refused, left, gone, after }));
  `);
  expect(found).toMatchObject({
    added: {
      results: [
        { event: 'ADD', memory: 'I am allergic to nuts.', trust: 'user', userId: 'ann', agentId: 'cook', runId: 'r1' },
        { event: 'ADD', memory: 'Noted: no nuts.', trust: 'model' },
      ],
    },
    again: { results: [{ event: 'NONE' }] },
    inferred: { status: 'PENDING', eventId: expect.stringMatching(/^job_/) },
    one: { memory: 'I am allergic to nuts.' },
    updated: { memory: 'I am allergic to peanuts.' },
    // Of two that came in one call, either may be the newer.
    page: {
      count: null,
      results: [{ memory: expect.stringMatching(/^(Noted: no nuts|I am allergic to peanuts)\.$/) }],
    },
    all: { count: 2, next: null },
    deleted: { receipts: [expect.stringMatching(/^[0-9a-f]{64}$/)] },
    users: { count: 2, results: [{ name: 'ann', type: 'user' }, { name: 'ben' }] },
    left: { count: 0, results: [] },
    gone: { message: 'Entity deleted successfully.' },
    after: { results: [{ name: 'ann' }] },
  });
  const { search, history, refused } = found as {
    search: { results: { memory: string; userId: string }[] };
    history: { event: string; oldMemory: string | null }[];
    refused: string[];
  };
  expect(search.results.map(({ userId }) => userId)).toEqual(['ann', 'ann']);
  expect(history.map(({ event, oldMemory }) => [event, oldMemory]).slice(0, 3)).toContainEqual(['ADD', null]);
  expect(history.at(-1)).toMatchObject({ event: 'UPDATE', newMemory: 'I am allergic to peanuts.' });
  expect(refused).toEqual([
    expect.stringContaining('filters'),
    expect.stringContaining('threshold'),
    expect.stringContaining('filters'),
    expect.stringContaining('user_id'),
    expect.stringContaining('memory_not_found'),
    expect.stringContaining('What Mem0 has at this address'),
  ]);
});

longTest(
  "the Model Context Protocol's former official client uses the tools, over HTTP and standard input",
  async () => {
    writeFileSync(join(folder, 'key'), client.key, { mode: 0o600 });
    const found = await inClients(`
    import { Client } from '@modelcontextprotocol/sdk/client/index.js';
    import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
    import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
    const headers = { authorization: 'Bearer ' + key };
    const ways = [
      new StreamableHTTPClientTransport(new URL(url + '/mcp'), { requestInit: { headers } }),
      new StdioClientTransport({
        command: process.execPath,
        args: [${JSON.stringify(join(import.meta.dirname, '..', '..', 'dist', 'callers.mjs'))}, 'mcp', '--url', url, '--key-file', 'key'],
      }),
    ];
    const found = [];
    for (const [at, way] of ways.entries()) {
      const mcp = new Client({ name: 'test', version: '1' });
      await mcp.connect(way);
      const call = (name, input) => mcp.callTool({ name, arguments: input });
      await call('remember', { owner: 'old' + at, text: 'She likes plums.' });
      const { structuredContent } = await call('recall', { owner: 'old' + at, query: 'plums' });
      found.push([(await mcp.listTools()).tools.length, structuredContent.results.map(({ memory }) => memory.text)]);
      await mcp.close();
    }
    console.log(JSON.stringify(found));
  `);
    expect(found).toEqual([
      [10, ['She likes plums.']],
      [10, ['She likes plums.']],
    ]);
  },
);

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Memory, MemoryErasure } from '../../src/proof/contract/memory.ts';
import { OwnEmbedder } from '../../src/surfaces/memory/embedder.ts';
import { findCanaries } from '../support/canary.ts';
import { Mcp } from '../support/mcp.ts';
import { ModelServer } from '../support/model-server.ts';
import { Pipeline, until, type Client } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { tracesOf } from '../support/traces.ts';

const CLI = join(ROOT, 'dist', 'callers.mjs');

let server: ModelServer;
let pipeline: Pipeline;
let client: Client;
let keyFile: string;

beforeAll(async () => {
  server = await ModelServer.start();
  pipeline = await Pipeline.prepare([server.model('toy', 'default', ['completion', 'chat'])]);
  const attestor = pipeline.attestor({ COUNTERSIGN_AOF_REWRITE_S: '5' });
  await Promise.all([pipeline.api(), pipeline.worker(1), attestor, pipeline.courier()]);
  client = await pipeline.client();
  keyFile = join(pipeline.folder, 'cli-key');
  writeFileSync(keyFile, client.key, { mode: 0o600 });
  await until(async () => (await client.fetch('/v1/owners')).status === 200, 600_000);
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a word of the built command line; the words that need no service are told of none. */
function cli(words: readonly string[], { isLocal = false, input = '' } = {}): Promise<Said> {
  const remote = isLocal ? [] : ['--url', pipeline.url, '--key-file', keyFile];
  const child = spawn(process.execPath, [CLI, 'memory', ...words, ...remote], {
    env: { PATH: process.env['PATH'] ?? '', HOME: pipeline.folder, COUNTERSIGN_HOME: join(pipeline.folder, 'nothing') },
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (piece: Buffer) => (out += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (err += piece.toString()));
  child.stdin.end(input);
  return new Promise((resolve) => child.once('close', (code) => resolve({ code: code ?? -1, out, err })));
}

async function said(words: readonly string[], more?: { isLocal?: boolean; input?: string }): Promise<string> {
  const { code, out, err } = await cli(words, more);
  expect([words, code, err]).toEqual([words, 0, '']);
  return out;
}
const json = async (...words: string[]): Promise<unknown> => JSON.parse(await said([...words, '--json']));
const file = (name: string) => join(pipeline.folder, name);

describe('countersign memory', () => {
  const OF = ['--owner', 'ann'];
  let [first, second] = ['', ''];

  test('add, list, show and search say what is there and where it is from', async () => {
    expect(await said(['list', ...OF])).toBe('');
    expect(await said(['search', 'anything', ...OF])).toBe('');
    expect(await said(['owners'])).toBe('');
    const added = (await json('add', 'I am allergic to peanuts.', ...OF, '--category', 'health')) as {
      memories: [{ outcome: string; memory: Memory }];
    };
    first = added.memories[0].memory.id;
    expect(added.memories[0].outcome).toBe('created');
    const again = await said(['add', '-', ...OF, '--category', 'health'], { input: ' i am ALLERGIC to peanuts.\n' });
    expect(again).toBe(`merged  ${first}  user, health  "I am allergic to peanuts."\n`);
    const other = ['add', 'The meeting is on Friday.', ...OF, '--said-by', 'tool', '--from', 'calendar', '--episodic'];
    second = ((await json(...other, '--contradicts', first)) as typeof added).memories[0].memory.id;
    expect(await said(['list', ...OF, '--limit', '1'])).toBe(
      `${second}  tool  "The meeting is on Friday."\nmore: --before ${second}\n`,
    );
    expect(await said(['list', ...OF, '--category', 'health'])).toMatch(new RegExp(`^${first} .*\n$`));
    expect(await said(['show', second])).toMatch(/\n {2}from tool calendar at 2\S+\n {2}contradicts mem_/);
    expect(await said(['search', 'peanuts', ...OF, '--mode', 'text', '--trust', 'user'])).toMatch(
      new RegExp(`^${first} .*\n {2}by words 1 \\(100 %: peanut\\)\n$`),
    );
    expect(await said(['owners'])).toBe('ann\n');
  });

  test('correct keeps what was said before, history shows it, and readers tells who looked', async () => {
    const corrected = await said(['correct', first, 'I am allergic to nuts.', ...OF]);
    expect(corrected).toBe(`${first}  user, health, version 2  "I am allergic to nuts."\n`);
    expect((await said(['history', first])).split('\n').filter((line) => /^\d/.test(line))).toEqual([
      expect.stringMatching(/^1 {2}.*"I am allergic to peanuts\."$/),
      expect.stringMatching(/^2 {2}.*"I am allergic to nuts\."$/),
    ]);
    const page = (await json('readers', ...OF, '--limit', '2')) as { reads: { number: number }[]; next: number };
    expect(page.reads).toMatchObject([{ action: 'history' }, { action: 'correct' }]);
    const all = (await said(['readers', ...OF, '--all', '--json'])).trim().split('\n');
    const reads = all.map((line) => JSON.parse(line) as { number: number; action: string });
    expect(reads.slice(0, 2)).toEqual(page.reads);
    expect(new Set(reads.map(({ action }) => action))).toEqual(
      new Set(['history', 'correct', 'search', 'get', 'list']),
    );
    expect(await said(['readers', ...OF, '--limit', '1'])).toContain(`more: --before ${page.reads[0]?.number ?? 0}\n`);
    const rest = (await json('readers', ...OF, '--before', String(page.next))) as { reads: object[] };
    expect(rest.reads).toEqual(reads.slice(2));
  });

  test('export, verify, import, diff and forget carry memories away and back, and say what was erased', async () => {
    expect(await said(['export', file('ann.jsonl'), ...OF])).toMatch(/: 2 memories, 0 tombstones, verified\n$/);
    expect(await said(['verify', file('ann.jsonl')], { isLocal: true })).toContain('2 entries, 0 tombstones');
    const report = (dry: boolean) => json('import', file('ann.jsonl'), '--owner', 'ben', ...(dry ? ['--dry-run'] : []));
    expect(await report(true)).toMatchObject({ dry_run: true, outcomes: { kept: 2 } });
    expect(await said(['list', '--owner', 'ben'])).toBe('');
    expect(await report(false)).toMatchObject({ outcomes: { kept: 2 } });
    expect(await report(false)).toMatchObject({ outcomes: { same: 2 } });
    await said(['export', file('ben.jsonl'), '--owner', 'ben']);
    expect(await said(['diff', file('ann.jsonl'), file('ben.jsonl')], { isLocal: true })).toBe('no difference\n');
    const forgotten = await said(['forget', first, '--owner', 'ben', '--receipt', file('receipt.json')]);
    const [, sha256 = ''] = /^erased 1; keys destroyed: .*; receipt ([0-9a-f]{64})\n$/.exec(forgotten) ?? [];
    const { erasures } = JSON.parse(readFileSync(file('receipt.json'), 'utf8')) as {
      erasures: [{ envelope: { payload: string } }];
    };
    const payload = Buffer.from(erasures[0].envelope.payload, 'base64');
    expect(createHash('sha256').update(payload).digest('hex')).toBe(sha256);
    expect(await report(false)).toMatchObject({ outcomes: { same: 1, buried: 1 } });
    await said(['export', file('less.jsonl'), '--owner', 'ben']);
    expect(await said(['diff', file('ann.jsonl'), file('less.jsonl')], { isLocal: true })).toMatch(
      new RegExp(`^\\w+ +${first}\n`),
    );
    expect(await said(['forget', '--all', '--owner', 'ben'])).toContain('keys destroyed: all of the owner');
  });

  test('what is wrong is one sentence with a code and an exit code, and nothing on standard output', async () => {
    writeFileSync(file('changed.jsonl'), readFileSync(file('ann.jsonl'), 'utf8').replace('Friday', 'Monday'));
    writeFileSync(file('empty.json'), '[]');
    for (const [words, code, name] of [
      [['add', 'x'], 2, 'request_invalid'],
      [['add', '', ...OF], 2, 'request_invalid'],
      [['add', 'x', ...OF, '--valid-from', 'soon'], 2, 'request_invalid'],
      [['add', 'x', ...OF, '--said-by', 'nobody'], 2, 'request_invalid'],
      [['add', 'x', ...OF, '--supersedes', 'mem_of_nobody'], 3, 'memory_not_found'],
      [['add', 'x', ...OF, '--said-by', 'tool', '--supersedes', first], 5, 'trust_too_low'],
      [['search', 'x', ...OF, '--mode', 'magic'], 2, 'request_invalid'],
      [['list', ...OF, '--limit', '0'], 2, 'request_invalid'],
      [['show', 'mem_of_nobody'], 3, 'memory_not_found'],
      [['show', '../owners'], 2, 'request_invalid'],
      [['history', first, '--owner', 'nobody'], 3, 'memory_not_found'],
      [['correct', first, ...OF], 2, 'request_invalid'],
      [['correct', first, 'x', '--said-by', 'model', ...OF], 5, 'trust_too_low'],
      [['forget'], 2, 'request_invalid'],
      [['forget', '--all'], 2, 'request_invalid'],
      [['forget', '--all', '--owner', 'nobody'], 3, 'owner_not_found'],
      [['readers', '--owner', 'nobody'], 3, 'owner_not_found'],
      [['readers', ...OF, '--all', '--limit', '3'], 2, 'request_invalid'],
      [['export', file('ann.jsonl'), ...OF], 2, 'request_invalid'],
      [['import', file('changed.jsonl'), ...OF], 7, 'bundle_refused'],
      [['import', file('no-such-file'), ...OF], 2, 'request_invalid'],
      [['import', file('empty.json'), ...OF], undefined, 'import_refused'],
    ] as const) {
      const { code: exit, out, err } = await cli(words);
      expect([words, out, err]).toEqual([words, '', expect.stringMatching(new RegExp(`^error: ${name}: .+\n`))]);
      if (code !== undefined) expect([words, exit]).toEqual([words, code]);
      expect([words, exit]).not.toEqual([words, 0]);
    }
    const refused = await cli(['verify', file('changed.jsonl')], { isLocal: true });
    expect([refused.code, refused.err]).toEqual([7, expect.stringContaining(second)]);
    const differing = await cli(['diff', file('ann.jsonl'), file('changed.jsonl')], { isLocal: true });
    expect([differing.code, differing.err]).toEqual([7, expect.stringContaining('changed.jsonl')]);
  });

  test('what a hostile memory says is shown, and does nothing to who reads it', async () => {
    const text = 'a\u001b[2J\u009b2J\u202eb\u200b\r\nforged  line "';
    const added = await said(['add', text, '--owner', 'eve']);
    const [, id = ''] = /^created {2}(\S+) /.exec(added) ?? [];
    for (const words of [
      ['list', '--owner', 'eve'],
      ['show', id],
      ['history', id],
      ['search', 'forged', '--owner', 'eve', '--mode', 'text'],
    ]) {
      const shown = await said(words);
      expect(shown).toContain('forged  line');
      expect(shown).not.toMatch(/[^\n\P{Cc}]|\p{Cf}/u);
    }
    const [memory] = ((await json('list', '--owner', 'eve')) as { memories: Memory[] }).memories;
    expect(memory?.text).toBe(text);
    await said(['forget', '--all', '--owner', 'eve']);
  });
});

describe('after an erasure', () => {
  const CANARY = 'Zygmunt hides quinquiremes in Xanadu';
  const NOTE = `${CANARY} every winter.`;

  /** Everything by which a text can come in, each as an owner of its own. */
  async function plant(): Promise<string[]> {
    server.chat = (turns) => {
      const [, mark] = /^<conversation ([0-9a-f]{32})>/.exec(turns.at(-1)?.content ?? '') ?? [];
      return mark === undefined ? `Indeed: ${NOTE}` : JSON.stringify({ reference: mark, memories: [{ text: NOTE }] });
    };
    await client.post('/v1/memories', {
      owner: 'api',
      text: NOTE,
      infer: false,
      category: 'secret',
      metadata: { NOTE },
    });
    const [own] = (await client.json<{ memories: Memory[] }>('/v1/memories?owner=api')).memories;
    const change = { text: `${NOTE} Or not.` };
    const patch = { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify(change) };
    expect((await client.fetch(`/v1/memories/${own?.id ?? ''}`, patch)).status).toBe(200);
    const search = await client.post('/v1/memories/search', { owner: 'api', query: NOTE });
    expect(search.status).toBe(200);
    const extraction = await client.post('/v1/memories', { owner: 'extraction', text: NOTE });
    const { job } = (await extraction.json()) as { job: string };
    await until(async () => (await client.json<{ outcome: string }>(`/v1/extractions/${job}`)).outcome === 'kept');
    const chat = { model: 'toy', messages: [{ role: 'user', content: `Is it so that ${NOTE}` }] };
    for (const owner of ['chat', 'api']) {
      const written = await client.post('/v1/chat/completions', {
        ...chat,
        memory: { owner, write: owner === 'chat' },
      });
      expect(written.status).toBe(200);
    }
    await until(
      async () => (await client.json<{ memories: Memory[] }>('/v1/memories?owner=chat')).memories.length === 2,
    );
    await using mcp = await Mcp.overHttp(pipeline.url, client.key);
    await mcp.call('remember', { owner: 'mcp', text: NOTE });
    expect(await mcp.call('recall', { owner: 'mcp', query: CANARY })).toMatchObject({ results: [{}] });
    const bundle = join(pipeline.folder, 'carried.jsonl');
    await said(['export', bundle, '--owner', 'api']);
    await said(['import', bundle, '--owner', 'bundle']);
    writeFileSync(join(pipeline.folder, 'carried.md'), `# Notes\n\n- ${NOTE}\n`);
    await said(['import', join(pipeline.folder, 'carried.md'), '--owner', 'markdown']);
    return ['api', 'extraction', 'chat', 'mcp', 'bundle', 'markdown'];
  }

  const where = () => ({
    redis: pipeline.redis.client(),
    folders: [pipeline.folder],
    archive: `${pipeline.folder}/log/archive`,
  });
  /** Logs of every role, and the files of Redis. */
  const elsewhere = (vectors: readonly Buffer[]) => [
    ...tracesOf(pipeline.redis.folder, CANARY, vectors),
    ...pipeline.running().flatMap(({ name, stderr }) => (stderr().includes(CANARY) ? [name] : [])),
  ];

  test('nothing of what was planted by any way is in a database, log, blob, archive or file', async () => {
    const owners = await plant();
    const embedded = await new OwnEmbedder().embed([NOTE, `${NOTE} Or not.`, `Indeed: ${NOTE}`]);
    const vectors = embedded.map(({ values }) => Buffer.from(values.buffer, values.byteOffset, 64));
    // The search finds what is there to find.
    expect((await findCanaries([CANARY], where())).length).toBeGreaterThan(0);
    expect(tracesOf(pipeline.redis.folder, CANARY)).not.toEqual([]);
    const erased: string[] = [];
    for (const owner of owners) {
      const all = (await client.json<{ memories: Memory[] }>(`/v1/memories?owner=${owner}`)).memories;
      expect([owner, all.length > 0]).toEqual([owner, true]);
      const ids = all.map(({ id }) => id);
      const answer = await client.post('/v1/memories/batch-delete', { owner, ids });
      const { erasures } = (await answer.json()) as { erasures: MemoryErasure[] };
      expect([owner, erasures.length > 0]).toEqual([owner, true]);
      for (const { statement } of erasures)
        expect(statement.follows).toContainEqual(expect.stringMatching(/append-only/));
      erased.push(...erasures.map(({ sha256 }) => sha256));
    }
    for (const name of ['carried.jsonl', 'carried.md']) rmSync(join(pipeline.folder, name));
    await until(async () => (await findCanaries([CANARY], where())).length === 0);
    // An attestor has Redis write its files anew, without what it had written before.
    await until(() => Promise.resolve(elsewhere(vectors).length === 0));
    expect(tracesOf(pipeline.folder, CANARY, vectors)).toEqual([]);
    // Each deletion receipt's digest stands in the audit log.
    const audit = await (await client.fetch('/v1/audit?limit=200')).text();
    for (const sha256 of erased) expect(audit).toContain(sha256);
  });
});

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Countersign, CountersignError } from '../../src/client/client.ts';
import { ReceiptRefused } from '../../src/proof/receipts/receipt.ts';
import { findChromium, inBrowser, type Page } from '../support/browser.ts';
import { dropOnto, openChecker } from '../support/checker-page.ts';
import { ChromiumPage } from '../support/chromium.ts';
import { BY_HAND_MODEL, KJV_MODEL, NOOP_MODEL, Pipeline, completion, until } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';
import { ROOT } from '../support/redis.ts';
import { wholeTest } from '../support/thorough.ts';

let pipeline: Pipeline;
let key: string;
let keyring: unknown;
/** Of the pages that a browser opens; the service is told their origin. */
let port: number;

beforeAll(async () => {
  port = await fixedPort();
  pipeline = await Pipeline.start({
    models: [KJV_MODEL, NOOP_MODEL, BY_HAND_MODEL],
    workers: 1,
    env: { 'api:COUNTERSIGN_CORS_ORIGINS': `http://127.0.0.1:${port}` },
  });
  key = await pipeline.key();
  keyring = JSON.parse(readFileSync(join(pipeline.folder, 'keyring.json'), 'utf8'));
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const JOB = {
  model: 'kjv-1m',
  task: 'completion' as const,
  input: { prompt: 'In the beginning' },
  params: { max_tokens: 12, seed: 5 },
};

describe('the client library', () => {
  test('runs a job and verifies its receipt with what was asked and answered, also with members in another order', async () => {
    const client = new Countersign({ url: pipeline.url, key, keyring });
    const { output, verified } = await client.run(JOB);
    expect(output.text.length).toBeGreaterThan(3);
    expect(verified.checks).toContain('the input given is the one that was asked');
    expect(verified.checks).toContain('the output given is the one that was confirmed');
    const chat = await client.run({
      model: 'noop',
      task: 'chat',
      input: { messages: [{ content: 'x', role: 'user' }] },
    });
    expect(chat.output.message.role).toBe('assistant');
  });

  test('a service that changes the answer, swaps the receipt, or has another keyring is found out', async () => {
    const tamper =
      (path: RegExp, change: (bytes: Uint8Array) => Uint8Array): typeof fetch =>
      async (input, init) => {
        const response = await fetch(input, init);
        if (!path.test(input instanceof Request ? input.url : input.toString())) return response;
        return new Response(
          change(new Uint8Array(await response.arrayBuffer())) as NonNullable<
            ConstructorParameters<typeof Response>[0]
          >,
          { status: 200 },
        );
      };
    const other = await new Countersign({ url: pipeline.url, key }).run({ ...JOB, params: { max_tokens: 3, seed: 9 } });
    const flip = (bytes: Uint8Array) => bytes.map((byte, at) => (at === 12 ? byte ^ 1 : byte));
    for (const [own, problem] of [
      [tamper(/\/output$/, flip), ReceiptRefused],
      [tamper(/\/receipt$/, flip), ReceiptRefused],
      [tamper(/\/receipt$/, () => other.receipt), ReceiptRefused],
    ] as const) {
      const client = new Countersign({ url: pipeline.url, key, keyring, fetch: own });
      await expect(client.run(JOB)).rejects.toThrow(problem);
    }
    const stranger = await Pipeline.prepare();
    const foreign: unknown = JSON.parse(readFileSync(join(stranger.folder, 'keyring.json'), 'utf8'));
    await stranger[Symbol.asyncDispose]();
    const mistrusting = new Countersign({ url: pipeline.url, key, keyring: foreign });
    await expect(mistrusting.run(JOB)).rejects.toMatchObject({ reason: 'untrusted_key' });
  });

  test('a lost answer and a busy service are tried again, and there is one job', async () => {
    let calls = 0;
    const flaky: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method !== 'POST') return response;
      calls += 1;
      if (calls === 1) throw new TypeError('the connection broke after the job was accepted');
      return calls === 2
        ? new Response('{"code":"overloaded"}', { status: 503, headers: { 'retry-after': '1' } })
        : response;
    };
    const client = new Countersign({ url: pipeline.url, key: await pipeline.key('single'), keyring, fetch: flaky });
    await client.run({ ...JOB, model: 'noop' });
    expect(calls).toBe(3);
    const admin = pipeline.redis.client();
    await until(async () => (await admin.zcard(pipeline.redis.keys.unsealed)) === 0);
    expect(await pipeline.redis.client().zcard(pipeline.redis.keys.endedOf('single'))).toBe(1);
  });

  test('streams, cancels, and says by code what went wrong', async () => {
    const client = new Countersign({ url: pipeline.url, key, keyring });
    const { id } = await client.submit({ ...JOB, params: { max_tokens: 60 } });
    const types: string[] = [];
    for await (const { type, data } of client.stream(id)) types.push(type === 'state' ? String(data['state']) : type);
    expect(types.filter((type) => type !== 'chunk' && type !== 'forecast')).toEqual([
      'queued',
      'running',
      'attesting',
      'done',
    ]);
    expect(types).toContain('chunk');
    const unwanted = await client.submit(completion('x', { model: 'by-hand' }) as typeof JOB);
    expect((await client.cancel(unwanted.id)).outcome).toBe('cancelled');
    await expect(client.wait(unwanted.id)).rejects.toMatchObject({ code: 'job_cancelled' });
    await expect(client.run({ ...JOB, model: 'gpt-9' })).rejects.toMatchObject({
      code: 'model_not_found',
      status: 404,
    });
    await expect(new Countersign({ url: pipeline.url, key: 'csk_x' }).run(JOB)).rejects.toThrow(CountersignError);
  });

  wholeTest(
    'in a browser the same client and the example run jobs, refuse what is forged, and fail fast; the page /docs sends requests',
    async () => {
      const chromium = findChromium();
      if (chromium === undefined) return;
      const pages: Record<string, Page> = {
        '/page': html(`<!doctype html><script type="module">${CLIENT_PAGE}</script>`),
        '/settings.js': script(`export default ${JSON.stringify({ url: pipeline.url, key, keyring, job: JOB })}`),
        '/client.js': script(readFileSync(join(ROOT, 'dist/client/browser.js'))),
        '/example': html(`${readFileSync(join(ROOT, 'examples/browser.html'), 'utf8')}${DRIVEN}`),
        '/drive.js': script(DRIVE),
      };
      const told = inBrowser(chromium, port, '/page', async (request, body) => {
        const { url = '/' } = request;
        return pages[url] ?? served(request, body, url === '/docs' ? DRIVEN : '');
      });
      try {
        const next = async () => (await told.next()).value as Record<string, unknown>;
        const called = await next();
        expect(called).toMatchObject({ refused: 'ReceiptRefused', away: 'connection_failed' });
        expect(called['why']).toContain(`pages of http://127.0.0.1:${port}`);
        const here = await new Countersign({ url: pipeline.url, key, keyring }).wait<'completion'>(
          String(called['id']),
        );
        expect(here.output.text).toBe(called['text']);

        expect((await next())['shown']).toMatch(/verified here: .*the output given is the one that was confirmed/);

        const tried = await next();
        expect(tried['job']).toMatch(/^200 OK\n[^]*"state": "done"/);
        expect(tried['unknown']).toMatch(/^404 Not Found\n[^]*"code": "job_not_found"/);
        expect(tried['ready']).toMatch(/^200 OK\n[^]*"ready": true/);
        expect(tried['refused']).toMatch(/^401 Unauthorized\n[^]*"code": "unauthenticated"/);
        expect(tried['events']).toMatch(/^200 OK\n[^]*event: state\n[^]*"done"/);
      } finally {
        await told.return(undefined);
      }
    },
  );
});

wholeTest(
  'the service serves the page that checks receipts, and the command says the same of the same files',
  async () => {
    const chromium = findChromium();
    if (chromium === undefined) return;
    const client = new Countersign({ url: pipeline.url, key, keyring });
    const { receipt, job } = await client.run(JOB);
    const answer = await fetch(`${pipeline.url}/v1/jobs/${job.id}/output`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const output = new Uint8Array(await answer.arrayBuffer());
    await using page = await ChromiumPage.open(chromium);
    await openChecker(page, `${pipeline.url}/verify`);
    const shown = await dropOnto(page, [
      { name: 'answer.json', bytes: output },
      { name: 'receipt', bytes: receipt },
    ]);
    expect([shown.title, shown.tally]).toEqual(['The receipt holds', ['8 pass', '0 fail', '3 skipped']]);
    expect(shown.text).toContain('Trusted on first use.');
    expect([await page.forbidden(), page.trouble]).toEqual([[], []]);

    const file = (name: string, bytes: Uint8Array) => {
      writeFileSync(join(pipeline.folder, name), bytes);
      return join(pipeline.folder, name);
    };
    const named = join(pipeline.folder, 'keyring.json');
    const paths = [file('checked.receipt', receipt), '--output', file('checked.json', output), '--keyring', named];
    const said = spawnSync(process.execPath, [join(ROOT, 'dist/roles/cli/main.js'), 'verify', ...paths, '--json'], {
      encoding: 'utf8',
    });
    const again = await dropOnto(page, [{ name: named, bytes: readFileSync(named) }]);
    expect(again.saved).toBe(said.stdout);
    expect(again.text).not.toContain('Trusted on first use.');
  },
);

wholeTest('the commands cancel all jobs that match, and save receipts that an auditor checks offline', async () => {
  const tenant = await pipeline.key('audited');
  const keyFile = join(pipeline.folder, 'audited.key');
  writeFileSync(keyFile, tenant, { mode: 0o600 });
  const run = (...words: string[]) => {
    const done = spawnSync(process.execPath, [join(ROOT, 'dist/roles/cli/main.js'), ...words], { encoding: 'utf8' });
    return { code: done.status, said: done.stdout, error: done.stderr };
  };
  const remote = ['--url', pipeline.url, '--key-file', keyFile];
  const client = new Countersign({ url: pipeline.url, key: tenant, keyring });
  const { job } = await client.run(JOB);
  for (let at = 0; at < 3; at += 1) await client.submit(completion(`x${at}`, { model: 'by-hand' }) as typeof JOB);

  const cancel = (...words: string[]) => run('jobs', 'cancel', ...remote, '--model', 'by-hand', ...words);
  expect(cancel('--json')).toMatchObject({ code: 0, said: '{"matched":3}\n' });
  expect(cancel('--count', '2')).toMatchObject({ code: 5, said: '' });
  expect(cancel('--count', '3', '--json').said).toBe('{"matched":3,"outcomes":{"cancelled":3}}\n');

  const folder = join(pipeline.folder, 'evidence');
  const period = ['--from', '2020-01-01T00:00:00Z', '--to', '2999-01-01T00:00:00Z'];
  expect(run('export-evidence', ...remote, ...period, '--out', folder)).toMatchObject({ code: 0, error: '' });
  const check = () => run('verify-evidence', folder, '--keyring', join(pipeline.folder, 'keyring.json'), '--json');
  expect(JSON.parse(check().said)).toMatchObject({ sound: true, verified: 1, absent: [], trust: { from: 'given' } });
  writeFileSync(join(folder, 'receipts', `${job.id}.receipt`), 'x');
  expect(check()).toMatchObject({ code: 7, error: expect.stringContaining('receipt_refused') });

  const top = run('top', '--once', '--url', pipeline.url);
  expect(top).toMatchObject({ code: 0, error: '' });
  expect(top.said).toMatch(/^working: [^]*workers 1 [^]*by-hand/);
});

const html = (body: string): Page => ({ headers: { 'content-type': 'text/html' }, body });
const script = (body: string | Buffer): Page => ({ headers: { 'content-type': 'text/javascript' }, body });

/** What the service answers at an address, under its own security policy; with more at the end of a page. */
async function served(request: IncomingMessage, body: Buffer, more: string): Promise<Page> {
  const { url = '/', method = 'GET', headers } = request;
  const passed = ['authorization', 'content-type', 'prefer', 'accept', 'last-event-id'];
  const answer = await fetch(`${pipeline.url}${url}`, {
    method,
    headers: Object.fromEntries(passed.flatMap((name) => (headers[name] ? [[name, String(headers[name])]] : []))),
    ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
  });
  const names = ['content-type', 'content-security-policy'];
  const told = names.flatMap((name) => {
    const value = answer.headers.get(name);
    return value === null ? [] : [[name, value]];
  });
  return {
    status: answer.status,
    headers: Object.fromEntries(told) as Record<string, string>,
    body: Buffer.concat([Buffer.from(await answer.arrayBuffer()), Buffer.from(more)]),
  };
}

const SAY = `const say = (what) => fetch('/result', { method: 'POST', body: JSON.stringify(what) });`;

/** Calls the service from a page of another origin, which the service lets in. */
const CLIENT_PAGE = `
  import { Countersign } from '/client.js';
  import settings from '/settings.js';
  ${SAY}
  try {
    const { url, key, keyring, job: wanted } = settings;
    const { output, receipt, job } = await new Countersign({ url, key, keyring }).run(wanted);
    const forged = receipt.slice();
    forged[900] ^= 1;
    const client = new Countersign({ url, key, keyring });
    const refused = await client.verify(forged).then(() => 'accepted', (error) => error.name);
    const away = await new Countersign({ url: 'http://127.0.0.1:1', key }).submit(wanted).catch((error) => error);
    await say({ text: output.text, id: job.id, refused, away: away.code, why: away.message });
  } catch (error) { await say({ error: String(error) }); }
  location.href = '/example';`;

const DRIVEN = '<script type="module" src="/drive.js"></script>';

/** Does with a page what a person would. */
const DRIVE = `
  import settings from '/settings.js';
  ${SAY}
  const until = async (look) => { while (!look()) await new Promise((resolve) => setTimeout(resolve, 50)); };
  const type = (field, text) => { field.value = text; };
  async function example() {
    const [form, shown] = ['form', 'output'].map((name) => document.querySelector(name));
    for (const name of ['url', 'key']) type(form.elements[name], settings[name]);
    type(form.elements.keyring, JSON.stringify(settings.keyring));
    form.querySelector('button').click();
    await until(() => !['', 'asking'].includes(shown.textContent));
    await say({ shown: shown.textContent });
    location.href = '/docs';
  }
  async function send(id, fields) {
    const details = document.querySelector('#' + id + ' details.tryout');
    await until(() => !details.hidden);
    details.open = true;
    for (const [name, text] of Object.entries(fields)) type(details.querySelector('[name="' + name + '"]'), text);
    const button = details.querySelector('button.send');
    button.click();
    await until(() => !button.disabled);
    return details.querySelector('output').textContent;
  }
  async function docs() {
    const refused = await send('listJobs', {});
    type(document.getElementById('key'), settings.key);
    const job = await send('submitJob', { Prefer: 'wait=60', body: JSON.stringify(settings.job) });
    const id = /"id": "(job_[0-9a-z]+)"/.exec(job)?.[1] ?? '';
    const events = await send('streamJobEvents', { id });
    const unknown = await send('getJob', { id: 'job_000000000000000000000000000000' });
    await say({ refused, job, events, unknown, ready: await send('getReadiness', {}) });
  }
  await (location.pathname === '/docs' ? docs() : example()).catch((error) => say({ error: String(error) }));`;

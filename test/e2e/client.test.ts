import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Countersign, CountersignError } from '../../src/client/client.ts';
import { ReceiptRefused } from '../../src/proof/receipts/receipt.ts';
import { BY_HAND_MODEL, KJV_MODEL, NOOP_MODEL, Pipeline, completion, until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';

let pipeline: Pipeline;
let key: string;
let keyring: unknown;

beforeAll(async () => {
  pipeline = await Pipeline.start({
    models: [KJV_MODEL, NOOP_MODEL, BY_HAND_MODEL],
    workers: 1,
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
    expect(types.filter((type) => type !== 'chunk')).toEqual(['queued', 'running', 'attesting', 'done']);
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

  test('in a browser the same client runs a job and verifies it, and refuses a forged answer', async () => {
    const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => {
      try {
        return readFileSync(path).length > 0;
      } catch {
        return false;
      }
    });
    if (chromium === undefined) {
      process.stderr.write('SKIPPED: no Chromium is installed; the client was not run in a browser\n');
      return;
    }
    const results: string[] = [];
    const page = `<!doctype html><script type="module">
      import { Countersign } from '/client.js';
      const keyring = ${JSON.stringify(keyring)};
      const key = ${JSON.stringify(key)};
      const url = location.origin;
      const say = (what) => fetch('/result', { method: 'POST', body: JSON.stringify(what) });
      try {
        const { output, verified, receipt, job } = await new Countersign({ url, key, keyring }).run(${JSON.stringify(JOB)});
        const forged = receipt.slice();
        forged[900] ^= 1;
        const client = new Countersign({ url, key, keyring });
        const refused = await client.verify(forged).then(() => 'accepted', (error) => error.name);
        await say({ text: output.text, checks: verified.checks.length, id: job.id, refused });
      } catch (error) { await say({ error: String(error) }); }
    </script>`;
    const server: Server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const { url = '/', method = 'GET', headers } = request;
        if (url === '/page') response.setHeader('content-type', 'text/html').end(page);
        else if (url === '/client.js')
          response.setHeader('content-type', 'text/javascript').end(readFileSync(join(ROOT, 'dist/client/browser.js')));
        else if (url === '/result') {
          results.push(Buffer.concat(pieces).toString());
          response.end();
        } else {
          const own = Object.fromEntries(
            Object.entries(headers).flatMap(([name, value]) =>
              ['authorization', 'content-type', 'idempotency-key', 'prefer'].includes(name)
                ? [[name, String(value)]]
                : [],
            ),
          );
          void fetch(`${pipeline.url}${url}`, {
            method,
            headers: own,
            ...(method === 'POST' ? { body: Buffer.concat(pieces) } : {}),
          }).then(async (answer) => {
            response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
            response.end(Buffer.from(await answer.arrayBuffer()));
          });
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const profile = mkdtempSync(join(tmpdir(), 'cs-chromium-'));
    const browser = spawn(
      chromium,
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        `--user-data-dir=${profile}`,
        `http://127.0.0.1:${(server.address() as AddressInfo).port}/page`,
      ],
      { stdio: 'ignore', detached: true },
    );
    const gone = new Promise((resolve) => browser.once('exit', resolve));
    try {
      const [text = '{}'] = await until(() => results.length > 0 && results);
      const result = JSON.parse(text) as { text: string; checks: number; id: string; refused: string; error?: string };
      expect(result.error).toBeUndefined();
      expect(result.refused).toBe('ReceiptRefused');
      expect(result.checks).toBeGreaterThan(10);
      const here = await new Countersign({ url: pipeline.url, key, keyring }).wait<'completion'>(result.id);
      expect(here.output.text).toBe(result.text);
    } finally {
      // Its own processes too, which still write into its folder.
      if (browser.pid !== undefined) process.kill(-browser.pid, 'SIGKILL');
      await gone;
      server.closeAllConnections();
      server.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
  });
});

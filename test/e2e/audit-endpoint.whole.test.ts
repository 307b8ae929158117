import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Secret } from '../../src/ground/config/secret.ts';
import { verifyReport } from '../../src/surfaces/endpoint-audit/audit-report.ts';
import { auditEndpoint } from '../../src/surfaces/endpoint-audit/endpoint-audit.ts';
import { ModelEndpoint } from '../../src/surfaces/endpoint-audit/model-endpoint.ts';
import { PROMPTS, type AuditTask } from '../../src/surfaces/endpoint-audit/questions.ts';
import { ROOT } from '../support/redis.ts';
import { sampleOf } from '../support/thorough.ts';
import { ToyModel } from '../support/toy-model.ts';
import { ToyServer, type Manner } from '../support/toy-server.ts';

const model = ToyModel.of(1);
const HONEST: Manner = { noise: 0.03 };
let folder: string;
let reference: ToyServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cs-audit-'));
  reference = await ToyServer.start(model);
});
afterAll(async () => {
  await reference[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface How {
  readonly task?: AuditTask;
  readonly key?: string;
  readonly answers?: number;
}

/** An audit in this process: what it finds of a server with this model and manner, or what it throws. */
async function audited(served: ToyModel, manner: Manner, { task = 'chat', key, answers = 32 }: How = {}) {
  await using endpoint = await ToyServer.start(served, manner);
  const server = (url: string, secret?: Secret) => new ModelEndpoint(url, 'toy', secret, 60_000);
  const own = server(endpoint.url, key === undefined ? undefined : new Secret(key));
  const servers = { endpoint: own, reference: server(reference.url), noise: undefined };
  const plan = { task, prompts: PROMPTS, temperature: 1, answers, maxTokens: 3 * answers };
  const { report } = await auditEndpoint(servers, plan, AbortSignal.timeout(120_000), () => undefined);
  return { ...report, calls: endpoint.calls };
}

describe('an audit of an endpoint', () => {
  const served: readonly [string, ToyModel, Manner, AuditTask, boolean][] = [
    ['the right model', model, HONEST, 'chat', true],
    ['the right model, asked to complete', model, HONEST, 'completion', true],
    ['the right model, which tells texts of tokens and no ids', model, { ignores: ['return_token_ids'] }, 'chat', true],
    ['the right model, which refuses what it does not know', model, { refuses: ['return_token_ids'] }, 'chat', true],
    ['another model', ToyModel.of(2), HONEST, 'chat', false],
    ['a near quantisation', model.near(0.35, 3), HONEST, 'chat', false],
    ['a hotter sampler', model, { ...HONEST, hotter: 0.5 }, 'chat', false],
  ];
  test.each(sampleOf(served, 3))('tells %s', async (_, other, manner, task, isConsistent) => {
    const { verdict, answers, formats } = await audited(other, manner, { task });
    expect([verdict.isConsistent, answers.length, answers.filter(({ read }) => 'unread' in read).length]).toEqual([
      isConsistent,
      32,
      0,
    ]);
    if (task === 'chat') expect(formats?.endpoint.map(({ result }) => result)).toEqual(['kept', 'kept', 'kept']);
  });

  test('says which formats an endpoint refuses or breaks, beside what the reference does', async () => {
    const { formats } = await audited(model, { refuses: ['tools'], ignores: ['response_format'] }, { answers: 4 });
    expect(formats?.endpoint.map(({ format, result }) => `${format} ${result}`)).toEqual([
      'json_object broken',
      'json_schema broken',
      'tool_call refused',
    ]);
    expect(formats?.reference.every(({ result }) => result === 'kept')).toBe(true);
  });

  test.each<[string, Manner, AuditTask, string, RegExp]>([
    [
      'that tells no tokens',
      { refuses: ['return_token_ids', 'logprobs'] },
      'chat',
      'endpoint_unfit',
      /2 answers of the endpoint at temperature 0, 2 cannot be read: tokens_untold/,
    ],
    ['whose tokens write another text', { says: ' ba be' }, 'chat', 'endpoint_unfit', /cannot be read: text_differs/],
    ['that wants a key', { key: 'right' }, 'chat', 'endpoint_unfit', /answered 401/],
    ['that sends without an end', { isEndless: true }, 'completion', 'endpoint_unfit', /more than an answer/],
  ])('fails plainly at an endpoint %s', async (_, manner, task, code, words) => {
    await expect(audited(model, manner, { task, key: 'wrong', answers: 4 })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(words),
    });
  });

  test('fails before it asks the endpoint where the reference tells no log-probabilities of a prompt', async () => {
    await using mute = await ToyServer.start(model, { ignores: ['prompt_logprobs'] });
    await using endpoint = await ToyServer.start(model);
    const server = (url: string) => new ModelEndpoint(url, 'toy', undefined, 60_000);
    const servers = { endpoint: server(endpoint.url), reference: server(mute.url), noise: undefined };
    const plan = { task: 'chat' as const, prompts: PROMPTS, temperature: 1, answers: 4, maxTokens: 8 };
    await expect(auditEndpoint(servers, plan, AbortSignal.timeout(60_000), () => undefined)).rejects.toMatchObject({
      code: 'endpoint_unfit',
      hint: expect.stringMatching(/prompt_logprobs/),
    });
    expect(endpoint.calls).toEqual([]);
  });

  test('follows no redirect, so that a key goes to the endpoint alone', async () => {
    await using other = await ToyServer.start(model);
    await expect(audited(model, { redirects: `${other.url}/` }, { key: 'secret', answers: 4 })).rejects.toMatchObject({
      code: 'endpoint_away',
    });
    expect(other.calls).toEqual([]);
  });
});

/** The command, as it runs where nothing but the package is installed. */
async function countersign(words: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'callers.mjs'), ...words], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()));
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, stdout, stderr };
}

describe('countersign audit-endpoint', () => {
  test('writes a signed report that is checked offline, sends each key to its server alone, and ends with 7 for another model', async () => {
    await using vendor = await ToyServer.start(ToyModel.of(2), { key: 'of the vendor' });
    writeFileSync(join(folder, 'vendor.key'), 'of the vendor\n', { mode: 0o600 });
    const asked = ['audit-endpoint', `${vendor.url}/v1`, '--model', 'toy', '--reference', reference.url];
    const size = ['--answers', '8', '--max-tokens', '48', '--endpoint-key-file', 'vendor.key'];
    const before = reference.calls.length;
    const found = await countersign([...asked, ...size], { COUNTERSIGN_REFERENCE_KEY: 'of the reference' });
    expect([found.status, found.stderr]).toEqual([7, expect.stringMatching(/^error: endpoint_differs: /m)]);
    expect(found.stdout).toMatch(/^verdict {3}not the model of the reference$/m);
    expect(new Set(vendor.calls.map(({ key }) => key))).toEqual(new Set(['Bearer of the vendor']));
    expect(new Set(reference.calls.slice(before).map(({ key }) => key))).toEqual(new Set(['Bearer of the reference']));
    expect(statSync(join(folder, 'endpoint-audit.key')).mode & 0o077).toBe(0);

    const bytes = readFileSync(join(folder, 'endpoint-audit.json'));
    const evidence = readFileSync(join(folder, 'endpoint-audit.jsonl'));
    const report = verifyReport(bytes, { evidence });
    expect(report).toMatchObject({ endpoint: { model: 'toy' }, verdict: { isConsistent: false } });
    const signer = ['--signer', report.auditor.key];
    const words = ['verify-audit', 'endpoint-audit.json', '--evidence', 'endpoint-audit.jsonl', ...signer];
    expect(await countersign(words)).toMatchObject({ status: 7, stderr: expect.stringMatching(/endpoint_differs/) });

    // Whoever changes what was found has to sign it anew, and a verdict must follow from what was measured.
    const envelope = JSON.parse(bytes.toString()) as { payload: string };
    const better = report.verdict.greedy.sum;
    const changed = Buffer.from(envelope.payload, 'base64')
      .toString()
      .replace(String(better), String(better / 2));
    const forged = JSON.stringify({ ...envelope, payload: Buffer.from(changed).toString('base64') });
    expect(() => verifyReport(Buffer.from(forged))).toThrow('The signature is not one of its auditor');
    expect(() => verifyReport(bytes, { signer: Buffer.alloc(32, 1).toString('base64') })).toThrow(
      'is signed by the key',
    );
    expect(() => verifyReport(bytes, { evidence: Buffer.from('other') })).toThrow('is not the file');
  });

  test('refuses what cannot be an audit before it asks anybody', async () => {
    const audit = (...more: string[]) =>
      countersign(['audit-endpoint', reference.url, '--model', 'toy', '--out', 'none.json', ...more]);
    const [self, many] = await Promise.all([
      audit('--reference', `${reference.url}/v1`),
      audit('--reference', 'http://127.0.0.1:9', '--answers', '100000'),
    ]);
    expect([self.status, self.stderr]).toEqual([2, expect.stringMatching(/would be judged by itself/)]);
    expect([many.status, many.stderr]).toEqual([2, expect.stringMatching(/--answers is 2 to 1000/)]);
    expect(existsSync(join(folder, 'none.json'))).toBe(false);
  });
});

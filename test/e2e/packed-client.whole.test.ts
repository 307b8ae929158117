import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ROOT } from '../support/redis.ts';
import { sampleOf } from '../support/thorough.ts';

/** What a verifying program writes, in JavaScript. */
const VERIFIER = `
import { readFileSync } from 'node:fs';
import { Countersign } from 'countersign/client';
const [, , receipt, keyring] = process.argv;
const client = new Countersign({ url: 'https://example.org', key: 'csk_', keyring: JSON.parse(readFileSync(keyring, 'utf8')) });
const { ticket } = await client.verify(readFileSync(receipt));
console.log(ticket.model.name);
`;

/** What a caller would write: every call of the client, with the types that it answers. */
const PROGRAM = `
import { Countersign, CountersignError } from 'countersign/client';
import type { Answer, JobDocument, JobEvent, JobRequest, OutputOf, VerifiedReceipt } from 'countersign/client';

const client = new Countersign({ url: 'https://example.org', key: 'csk_', fetch: (input, init) => fetch(input, init) });

export async function ask(signal: AbortSignal): Promise<string> {
  const { output, job, receipt, verified } = await client.run(
    { model: 'm', task: 'completion', input: { prompt: 'x' }, params: { max_tokens: 8 }, attestation: { recompute: 1 } },
    { idempotencyKey: 'once', signal },
  );
  const again: VerifiedReceipt = await client.verify(receipt, { output: new Uint8Array() });
  const charge: number | undefined = again.charge;
  const shares: [number, number | undefined] = [verified.verdict.recompute.promisedShare, verified.ticket.policy.tokens];
  const state: 'queued' | 'running' | 'attesting' | 'done' | 'rejected' | 'failed' | 'cancelled' | 'expired' = job.state;
  return [output.text, output.finish_reason, verified.logged.origin, state, charge, ...shares].join();
}

export async function chat(): Promise<string | null> {
  const answer = await client.run({ model: 'm', task: 'chat', input: { messages: [{ role: 'user', content: 'x' }] } });
  return answer.output.message.tool_calls?.[0]?.function.name ?? answer.output.message.content;
}

export async function embed(): Promise<number[][]> {
  return (await client.run({ model: 'm', task: 'embedding', input: { texts: ['x'] } })).output.embeddings;
}

export async function follow(request: JobRequest): Promise<OutputOf<'chat'>> {
  const submitted: JobDocument = await client.submit(request);
  for await (const event of client.stream(submitted.id)) {
    const { type, data }: JobEvent = event;
    if (type === 'chunk' && data['text'] === 'stop') {
      const { outcome } = await client.cancel(submitted.id);
      if (outcome === 'already_final') break;
    }
  }
  const answer: Answer<'chat'> = await client.wait<'chat'>(submitted.id);
  return answer.output;
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof CountersignError ? \`\${error.code} \${error.status ?? 0}\` : undefined;
}

// @ts-expect-error A task that does not exist does not compile.
void client.run({ model: 'm', task: 'poem', input: { prompt: 'x' } });
// @ts-expect-error Nor does the input of another task.
void client.run({ model: 'm', task: 'embedding', input: { prompt: 'x' } });
// @ts-expect-error The text of a chat is in its message.
void client.run({ model: 'm', task: 'chat', input: { messages: [] } }).then(({ output }) => output.text);
`;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-packed-'));
  const packed = spawnSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect([packed.status, packed.stderr]).toEqual([0, '']);
  const [tarball = ''] = readdirSync(folder);
  // Nothing is asked of a registry: there is nothing that it would have to bring.
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'caller', type: 'module' }));
  const installed = spawnSync('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${tarball}`], {
    cwd: folder,
    encoding: 'utf8',
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      npm_config_cache: join(folder, 'cache'),
      npm_config_update_notifier: 'false',
    },
  });
  expect([installed.status, installed.stderr]).toEqual([0, '']);
  writeFileSync(join(folder, 'program.ts'), PROGRAM);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the package brings no other, and no machine code', () => {
  const inFolder = (at: string) =>
    readdirSync(join(folder, 'node_modules', at)).filter((name) => !name.startsWith('.'));
  expect(inFolder('.')).toEqual(['countersign']);
  const files = readdirSync(join(folder, 'node_modules', 'countersign'), { recursive: true, encoding: 'utf8' });
  expect(files.filter((name) => /\.(js|mjs)$/.test(name)).toSorted()).toEqual([
    'dist/callers.mjs',
    'dist/client/browser.js',
    'dist/client/node.js',
    'dist/roles/cli/main.js',
  ]);
  expect(files.filter((name) => /\.(node|so|dylib|dll|wasm|gguf)$/.test(name))).toEqual([]);
});

describe('the packed client', () => {
  const RESOLUTIONS = [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ] as const;
  test.each(sampleOf(RESOLUTIONS, 2))(
    'compiles into a program without any other package: module %s, resolved as %s',
    (module, moduleResolution) => {
      const compilerOptions = {
        noEmit: true,
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        target: 'es2023',
        lib: ['ES2023', 'DOM', 'DOM.AsyncIterable'],
        types: [],
        module,
        moduleResolution,
      };
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }));
      const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
      const compiled = spawnSync(process.execPath, [tsc, '--project', folder, '--listFiles'], {
        cwd: folder,
        encoding: 'utf8',
      });
      const files = compiled.stdout.split('\n').filter((line) => line.startsWith(folder));
      expect([compiled.status, compiled.stdout.split('\n').filter((line) => line.includes('error TS'))]).toEqual([
        0,
        [],
      ]);
      // Nothing but the client's own declarations and those of the contract: no server and no other package.
      const named = files.map((file) => file.slice(folder.length + 1)).filter((file) => file !== 'program.ts');
      expect(
        named.filter((file) => !/^node_modules\/countersign\/dist\/(client|proof\/contract)\//.test(file)),
      ).toEqual([]);
      expect(named).toContain('node_modules/countersign/dist/client/client.d.ts');
    },
  );
});

test('the packed client verifies in Node.js without any other package', () => {
  const vectors = join(ROOT, 'test', 'vectors');
  const { receipt } = JSON.parse(readFileSync(join(vectors, 'good-recomputed.case.json'), 'utf8')) as {
    receipt: string;
  };
  writeFileSync(join(folder, 'one.receipt'), Buffer.from(receipt, 'base64'));
  writeFileSync(join(folder, 'verifier.mjs'), VERIFIER);
  const words = ['verifier.mjs', 'one.receipt', join(vectors, 'keyring.json')];
  const done = spawnSync(process.execPath, words, { cwd: folder, encoding: 'utf8' });
  expect([done.status, done.stdout, done.stderr]).toEqual([0, 'kjv-1m\n', '']);
});

describe('the packed command', () => {
  const at = () => join(folder, 'node_modules', 'countersign');
  const env = { PATH: process.env['PATH'] };
  const VECTORS = join(ROOT, 'test', 'vectors');
  /** `npx countersign verify` on a machine that has Node.js, the package, and none of those it depends on. */
  const verify = (vector: string, ...more: string[]) => {
    const { receipt } = JSON.parse(readFileSync(join(VECTORS, `${vector}.case.json`), 'utf8')) as { receipt: string };
    const file = join(folder, `${vector}.receipt`);
    writeFileSync(file, Buffer.from(receipt, 'base64'));
    return countersign('verify', file, '--keyring', join(VECTORS, 'keyring.json'), ...more);
  };
  const countersign = (...words: string[]) => {
    const { bin } = JSON.parse(readFileSync(join(at(), 'package.json'), 'utf8')) as { bin: { countersign: string } };
    return spawnSync(process.execPath, [join(at(), bin.countersign), ...words], { cwd: folder, encoding: 'utf8', env });
  };

  test('verifies a receipt without any other package', () => {
    const verified = verify('good-recomputed', '--json');
    expect([verified.status, verified.stderr]).toEqual([0, '']);
    const said = JSON.parse(verified.stdout) as { verified: boolean; transcript: { step: string; result: string }[] };
    expect(said).toMatchObject({ verified: true, trust: { from: 'given' }, ticket: { model: { name: 'kjv-1m' } } });
    const skipped = said.transcript.filter(({ result }) => result !== 'PASS').map(({ step }) => step);
    expect(skipped).toEqual(['input', 'output', 'checkpoint', 'standing']);
  });

  test.each([
    ['bad-signature', 'bad_signature', 'signatures'],
    ['bad-small-order-worker', 'wrong_worker', 'evidence'],
  ])('refuses %s as everywhere, and says at which step', (vector, reason, step) => {
    const refused = verify(vector, '--json');
    expect(refused.status).toBe(7);
    const said = JSON.parse(refused.stdout) as { transcript: { step: string; result: string }[] };
    expect(said).toMatchObject({ verified: false, reason });
    expect(said.transcript.filter(({ result }) => result === 'FAIL')).toMatchObject([{ step }]);
  });

  test('says in plain words what was asked, answered, checked, not checked, paid and trusted', () => {
    const { stdout } = verify('good-recomputed');
    for (const word of ['verified', 'asked', 'answered', 'checked', 'not checked', 'price', 'trust'])
      expect(stdout).toMatch(new RegExp(`^${word} {2,}\\S`, 'm'));
    expect(stdout).not.toMatch(/[A-Z]{4,}_[A-Z]/);
  });

  test('has what callers need, and says of the rest that it is part of the service', () => {
    const { stdout } = countersign('--help');
    for (const name of ['verify', 'proxy', 'submit', 'get', 'watch', 'schedules']) {
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
      expect(countersign(name, '--help')).toMatchObject({ status: 0, stderr: '' });
    }
    const named = /Not installed here[^:]*: ([^.]*)\./.exec(stdout)?.[1]?.split(', ') ?? [];
    const whole = spawnSync(process.execPath, [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), '--help'], {
      encoding: 'utf8',
      env,
    });
    const commands = (help: string) => [...help.matchAll(/^  ([a-z]+) .*$/gm)].map(([, name]) => name).toSorted();
    expect([...new Set([...commands(stdout), ...named])].toSorted()).toEqual(commands(whole.stdout));
    for (const name of sampleOf(named, 5))
      expect([name, countersign(name, 'x', '--y').stderr]).toEqual([
        name,
        expect.stringMatching(/^error: .*part of the service/),
      ]);
    expect(countersign('verfy').stderr).toContain('verify');
  });

  test('is not published by accident', () => {
    const refused = spawnSync(process.execPath, [join(ROOT, 'scripts', 'may-publish.mjs')], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    });
    expect([refused.status, refused.stderr.split('\n')[0]]).toEqual([
      1,
      expect.stringMatching(/^not published: COUNTERSIGN_PUBLISH is not /),
    ]);
  });
});

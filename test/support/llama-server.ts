import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './pipeline.ts';
import { fixedPort } from './ports.ts';
import { ROOT } from './redis.ts';

const run = promisify(execFile);
const CACHE = join(ROOT, '.cache', 'llama-server');
const LIB = 'usr/lib/x86_64-linux-gnu';

/**
 * llama.cpp's own server as Debian builds it for sid, with everything it is linked against, extracted without
 * root and kept in .cache. Undefined, with a line that says so, where it cannot be had.
 */
export async function llamaServerRoot(): Promise<string | undefined> {
  const root = join(CACHE, 'root');
  if (existsSync(join(root, 'usr/bin/llama-server'))) return root;
  try {
    if (process.arch !== 'x64') throw new Error('only for x86-64');
    await extract(root);
    return root;
  } catch (error) {
    process.stderr.write(`SKIPPED: no llama.cpp server could be had from Debian: ${String(error).slice(0, 200)}\n`);
    return undefined;
  }
}

async function extract(root: string): Promise<void> {
  const work = join(CACHE, `work-${process.pid}`);
  for (const dir of ['lists/partial', 'cache/archives/partial', 'debs', 'root'])
    mkdirSync(join(work, dir), { recursive: true });
  const { stdout: mirrors } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)']);
  const mirror = mirrors.split('\n').find((line) => line !== '' && !line.includes('security'));
  if (mirror === undefined) throw new Error('apt knows no mirror');
  writeFileSync(
    join(work, 'sources.list'),
    `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror} sid main\n`,
  );
  writeFileSync(join(work, 'status'), '');
  const options = [
    `Dir::Etc::sourcelist=${join(work, 'sources.list')}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${join(work, 'lists')}`,
    `Dir::State::status=${join(work, 'status')}`,
    `Dir::Cache=${join(work, 'cache')}`,
    'APT::Sandbox::User=',
    'Debug::NoLocking=true',
    'Acquire::Languages=none',
  ].flatMap((option) => ['-o', option]);
  const apt = (...args: string[]) =>
    run('apt-get', [...options, '-q', ...args], { cwd: join(work, 'debs'), timeout: 120_000, maxBuffer: 16 * 2 ** 20 });
  try {
    await apt('update');
    // With an empty status file apt names every package that the server needs, libc and loader included.
    const { stdout } = await apt('install', '--no-install-recommends', '--print-uris', '-y', 'llama.cpp-tools');
    const packages = [...stdout.matchAll(/^'\S+' (\S+?)_/gm)].map(([, name]) => name ?? '');
    await apt('download', ...packages);
    for (const deb of readdirSync(join(work, 'debs')))
      await run('dpkg-deb', ['-x', join(work, 'debs', deb), join(work, 'root')]);
    renameSync(join(work, 'root'), root);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A running server of a model, on loopback. */
export class LlamaServer implements AsyncDisposable {
  readonly url: string;
  readonly process: ChildProcess;

  private constructor(url: string, process: ChildProcess) {
    this.url = url;
    this.process = process;
  }

  static async start(root: string, args: readonly string[]): Promise<LlamaServer> {
    const port = await fixedPort();
    const lib = join(root, LIB);
    const child = spawn(
      join(lib, 'ld-linux-x86-64.so.2'),
      [
        '--library-path',
        `${lib}:${join(lib, 'llama')}:${join(lib, 'ggml')}`,
        join(root, 'usr/bin/llama-server'),
        '-m',
        join(ROOT, 'models', 'kjv-1m-q8_0.gguf'),
        '--host',
        '127.0.0.1',
        '--port',
        String(port),
        '-t',
        '1',
        ...args,
      ],
      {
        env: { PATH: process.env['PATH'] ?? '', GGML_BACKEND_PATH: join(lib, 'ggml/backends0/libggml-cpu-haswell.so') },
        stdio: 'ignore',
      },
    );
    const server = new LlamaServer(`http://127.0.0.1:${port}`, child);
    await until(async () => {
      if (child.exitCode !== null) throw new Error('llama-server did not start');
      return fetch(`${server.url}/health`).then(
        (response) => response.ok,
        () => false,
      );
    });
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL');
    await new Promise((resolve) =>
      this.process.exitCode === null && this.process.signalCode === null
        ? this.process.once('exit', resolve)
        : resolve(undefined),
    );
  }
}

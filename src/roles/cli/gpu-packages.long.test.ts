import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ROOT } from '../../../test/support/redis.ts';
import { GPU_BUILD_VERSION, fetchPackages } from './gpu-packages.ts';

const NAME = '@node-llama-cpp/linux-x64-vulkan';
const folder = mkdtempSync(join(tmpdir(), 'cs-gpu-'));
const build = (name: string) => join(folder, name, 'build');
const integrityOf = (bytes: Buffer) => `sha512-${createHash('sha512').update(bytes).digest('base64')}`;

/** A registry of one package, whose script would leave a mark. */
const registry = { requests: 0, mode: 'whole' as 'whole' | 'cut' | 'other', tarball: Buffer.alloc(0), url: '' };
const server = createServer((request, response) => {
  registry.requests += 1;
  if (request.url?.endsWith('.tgz') !== true) {
    const dist = { tarball: `${registry.url}/it.tgz`, integrity: integrityOf(registry.tarball) };
    const version = { name: NAME, version: GPU_BUILD_VERSION, dist };
    response.end(JSON.stringify({ name: NAME, versions: { [GPU_BUILD_VERSION]: version }, 'dist-tags': {} }));
    return;
  }
  if (registry.mode === 'cut') {
    response.writeHead(200, { 'content-length': registry.tarball.length });
    response.write(registry.tarball.subarray(0, 100), () => response.destroy());
    return;
  }
  response.end(registry.mode === 'other' ? Buffer.concat([registry.tarball, Buffer.alloc(512)]) : registry.tarball);
});

/** As an operator would run it whose npm knows this registry alone, and with a cache of its own. */
function fetched(name: string, mode: typeof registry.mode, url = registry.url): Promise<boolean> {
  registry.mode = mode;
  const pinned = { name: NAME, integrity: integrityOf(registry.tarball) };
  return fetchPackages(build(name), GPU_BUILD_VERSION, [pinned], {
    PATH: process.env['PATH'],
    HOME: folder,
    npm_config_registry: url,
    npm_config_fetch_retries: '0',
    npm_config_cache: join(folder, name, 'cache'),
  });
}

beforeAll(async () => {
  const source = join(folder, 'package');
  mkdirSync(join(source, 'dist'), { recursive: true });
  const scripts = { postinstall: `touch ${join(folder, 'script-was-run')}` };
  const about = { name: NAME, version: GPU_BUILD_VERSION, type: 'module', exports: './dist/index.js', scripts };
  writeFileSync(join(source, 'package.json'), JSON.stringify(about));
  writeFileSync(join(source, 'dist', 'index.js'), "export const getBinsDir = () => 'played';\n");
  execFileSync('tar', ['-czf', join(folder, 'it.tgz'), '-C', folder, 'package']);
  registry.tarball = readFileSync(join(folder, 'it.tgz'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  registry.url = `http://127.0.0.1:${typeof address === 'object' ? String(address?.port) : ''}`;
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

describe('a build for GPUs', () => {
  test('is fetched once, runs no script, and is what the engine is loaded from', async () => {
    expect(await fetched('good', 'whole')).toBe(true);
    expect(existsSync(join(folder, 'script-was-run'))).toBe(false);
    const before = registry.requests;
    expect(await fetched('good', 'whole')).toBe(false);
    expect(registry.requests).toBe(before);
    const program = `
      import { useGpuBuild } from ${JSON.stringify(join(ROOT, 'dist', 'core', 'engines', 'gpu-build.js'))};
      useGpuBuild(${JSON.stringify(build('good'))});
      console.log((await import(${JSON.stringify(NAME)})).getBinsDir());
      await import('@node-llama-cpp/linux-x64-cuda').catch(({ code }) => console.log(code));`;
    const words = ['--input-type=module', '-e', program];
    const { stdout } = spawnSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8' });
    expect(stdout.split('\n').slice(0, 2)).toEqual(['played', 'ERR_MODULE_NOT_FOUND']);
  });

  test('that is cut off leaves nothing, and comes at the next try', async () => {
    await expect(fetched('cut', 'cut')).rejects.toMatchObject({ code: 'download_failed' });
    expect(existsSync(build('cut'))).toBe(false);
    expect(await fetched('cut', 'whole')).toBe(true);
  });

  test('of other bytes than were pinned is refused', async () => {
    await expect(fetched('other', 'other')).rejects.toMatchObject({ code: 'download_unfit' });
    expect(existsSync(build('other'))).toBe(false);
  });

  test('without a network says so', async () => {
    await expect(fetched('away', 'whole', 'http://127.0.0.1:1')).rejects.toMatchObject({
      code: 'download_failed',
      message: 'The build could not be fetched: npm says ECONNREFUSED.',
    });
  });

  test('comes from the real registry as it is pinned, with native code in it', () => {
    const data = join(folder, 'data');
    const words = [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), '--data', data, 'setup', '--gpu', 'vulkan', '--json'];
    const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
    const { stdout, stderr, status } = spawnSync(process.execPath, words, { env, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    const { folder: made } = JSON.parse(stdout) as { folder: string };
    expect(readdirSync(join(made, 'node_modules', NAME, 'bins'))).not.toEqual([]);
  });
});

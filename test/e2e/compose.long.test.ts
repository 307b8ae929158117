import { execFileSync } from 'node:child_process';
import { chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parseYaml } from '@redocly/openapi-core';
import { findRedisServer } from '../../src/ground/redis/redis-server.ts';
import { ComposeFile, Containers, canContain, type Image } from '../support/containers.ts';
import { ROOT } from '../support/redis.ts';

/** Nobody in particular: not who runs the tests. */
const OWNER = 1_000;

/** Runs a program as the owner of the installation, as a person who is not root does. */
const asOwner = (cwd: string, command: readonly string[]): string =>
  execFileSync('setpriv', [`--reuid=${OWNER}`, `--regid=${OWNER}`, '--clear-groups', ...command], {
    cwd,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: cwd },
  });

/** The roots that the Dockerfile makes of this checkout, with the lines that it runs for the worker's. */
function imagesIn(folder: string): Record<'countersign-full' | 'countersign-worker', Image> {
  const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
  const [, removed = ''] = /^RUN rm -rf (dist.*)$/m.exec(dockerfile) ?? [];
  const made = (name: string): string => {
    const app = join(folder, name);
    mkdirSync(app);
    cpSync(join(ROOT, 'dist'), join(app, 'dist'), { recursive: true });
    cpSync(join(ROOT, 'package.json'), join(app, 'package.json'));
    mkdirSync(join(app, 'node_modules'));
    mkdirSync(join(app, 'models'));
    return app;
  };
  const [full, worker] = [made('full'), made('worker')];
  for (const path of removed.split(' ')) rmSync(join(worker, path), { recursive: true });
  const image = (app: string): Image => ({
    folders: { '/app': app, '/app/node_modules': join(ROOT, 'node_modules'), '/app/models': join(ROOT, 'models') },
    workdir: '/app',
    entrypoint: ['node'],
    env: { NODE_ENV: 'production' },
  });
  return { 'countersign-full': image(full), 'countersign-worker': image(worker) };
}

test('the compose file of init runs: as its user, read-only, without capabilities, each on its own networks; a job is done', async () => {
  if (process.getuid?.() !== 0 || !canContain()) return;
  const folder = mkdtempSync(join(tmpdir(), 'cs-compose-'));
  try {
    execFileSync('chmod', ['755', folder]);
    const house = join(folder, 'house');
    mkdirSync(house);
    chownSync(house, OWNER, OWNER);
    const program = join(ROOT, 'dist', 'roles', 'cli', 'main.js');
    asOwner(house, [process.execPath, program, 'init', 'installation', '--yes']);
    const made = join(house, 'installation');
    const text = readFileSync(join(made, 'compose.yaml'), 'utf8').replace(/\$\{COUNTERSIGN_OWNER:-([^}]*)\}/g, '$1');
    const { services } = ComposeFile.parse(parseYaml(text));
    const redis = await findRedisServer(join(ROOT, '.countersign', 'redis-server'), () => undefined);
    const redisFolder = join(ROOT, '.countersign', 'redis-server');
    const images = {
      ...imagesIn(folder),
      redis: {
        folders: existsSync(redisFolder) ? { [redisFolder]: redisFolder } : {},
        workdir: '/',
        entrypoint: [],
        env: { ...redis.env, PATH: `${dirname(redis.path)}:/usr/bin:/bin` },
      },
    };
    await using containers = new Containers(made, folder, services, images);
    for (const name of ['redis', 'attestor', 'worker-default-1', 'api', 'courier']) await containers.start(name);

    for (const name of ['redis', 'attestor', 'worker-default-1', 'api', 'courier']) {
      const status = readFileSync(`/proc/${containers.pid(name)}/status`, 'utf8');
      expect([name, /^Uid:\t(\d+)/m.exec(status)?.[1]]).toEqual([name, String(OWNER)]);
      expect([name, /^CapEff:\t(\w+)/m.exec(status)?.[1]]).toEqual([name, '0'.repeat(16)]);
      expect([name, /^NoNewPrivs:\t(\d)/m.exec(status)?.[1]]).toEqual([name, '1']);
      expect(containers.run(name, ['touch', '/app/here']).stderr).toMatch(/Read-only file system|No such file/);
    }
    // A worker reaches Redis and nobody else, and has nothing of an attestor.
    const names = (name: string) => containers.run(name, ['cat', '/etc/hosts']).stdout;
    expect(names('worker-default-1')).not.toMatch(/ (?:attestor|api)$/m);
    expect(containers.run('worker-default-1', ['ls', '/etc/countersign', '/app/dist/roles']).stdout).not.toContain(
      'attestor',
    );

    // As the administrator, on the machine whose port 8181 is the API's.
    const asked = ['submit', 'And God said', '--model', 'kjv-1m', '--max-tokens', '4', '--wait', '60'];
    const reach = ['--url', 'http://127.0.0.1:8181', '--key-file', join(made, 'admin', 'dev.key')];
    const host = ['nsenter', '-t', String(containers.pid('api')), '-n'];
    const limits = ['setpriv', `--reuid=${OWNER}`, `--regid=${OWNER}`, '--clear-groups'];
    const [enter = '', ...words] = [...host, ...limits, process.execPath, program, ...asked, ...reach];
    expect(execFileSync(enter, words, { cwd: house, encoding: 'utf8' })).toContain('  done\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

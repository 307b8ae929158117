import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { whenReady, type RedisAccess } from './connection.ts';

const run = promisify(execFile);

/** A Redis server program, and the environment variables with which it finds its libraries. */
export interface RedisProgram {
  readonly path: string;
  readonly env: Record<string, string>;
}

const NAMES = ['redis-server', 'valkey-server'];
const MORE_FOLDERS = ['/opt/homebrew/bin', '/usr/local/opt/redis/bin', '/usr/local/bin'];
/** Runs without a build too, so that a set-up can fetch the server while it builds. */
const DEBIAN_SCRIPT = fileURLToPath(new URL('./debian-redis.sh', import.meta.url));
const START_MS = 30_000;
/** Linux takes 108 bytes for the path of a unix socket, with its terminator; other systems take 104. */
const MAX_SOCKET_PATH = 100;

/**
 * Returns a Redis server to start: one on the PATH, or the private copy extracted earlier, or Debian's
 * package, which is extracted into `folder` without root. `say` gets one line when something is fetched.
 * Throws CodedError `redis_missing`, whose hint has the other ways to get one. One caller for a folder at a
 * time.
 */
export async function findRedisServer(folder: string, say: (line: string) => void): Promise<RedisProgram> {
  const onPath = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS]
    .flatMap((dir) => NAMES.map((name) => join(dir, name)))
    .find(isExecutable);
  if (onPath !== undefined) return { path: onPath, env: {} };
  const extracted = extractedProgram(folder);
  if (extracted !== undefined) return extracted;
  try {
    say(`no Redis on this machine: fetching Debian's redis-server into ${folder} (about 4 MB, no root)`);
    await run('/bin/sh', [DEBIAN_SCRIPT, folder]);
  } catch (cause) {
    throw missing(lastLineOf(cause), cause);
  }
  const fresh = extractedProgram(folder);
  if (fresh === undefined) throw missing("Debian's package held no server program");
  await run(fresh.path, ['--version'], { env: { ...process.env, ...fresh.env } }).catch((cause: unknown) => {
    throw missing(`the extracted server does not run: ${messageOf(cause).slice(0, 200)}`, cause);
  });
  return fresh;
}

function missing(why: string, cause?: unknown): CodedError {
  return new CodedError(
    'redis_missing',
    `There is no Redis server to use (${why.split('\n')[0]?.slice(0, 200) ?? ''}).`,
    {
      cause,
      hint: 'give one of: COUNTERSIGN_REDIS_URL of a Redis 7 server; redis-server or valkey-server on the PATH (apt install redis-server, brew install redis, dnf install valkey); docker compose up',
    },
  );
}

/** What a program said last before it failed. */
function lastLineOf(cause: unknown): string {
  const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
  return said.split('\n').at(-1) || messageOf(cause);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function extractedProgram(folder: string): RedisProgram | undefined {
  const root = join(folder, 'root');
  const path = join(root, 'usr/bin/redis-server');
  if (!existsSync(path)) return undefined;
  const libraries = ['usr/lib', 'lib'].flatMap((lib) => {
    const dir = join(root, lib);
    return existsSync(dir)
      ? readdirSync(dir)
          .filter((name) => name.endsWith('-linux-gnu') || name.includes('-linux-gnu'))
          .map((name) => join(dir, name))
      : [];
  });
  return { path, env: { LD_LIBRARY_PATH: libraries.join(':') } };
}

/**
 * The default user, switched off for logins. It keeps its rights, because Redis 7.0 replays the append-only
 * file as this user and otherwise refuses what scripts wrote (measured: all jobs were lost at the first
 * restart).
 */
export const DEFAULT_USER = 'user default off resetpass ~* &* +@all';

/** A private Redis server that runs. */
export interface PrivateRedis {
  readonly url: string;
  readonly process: ChildProcess;
  /** Shuts it down; resolves when the process has exited. */
  stop(): Promise<void>;
  /** Kills it as a crash would; resolves when the process has exited. */
  kill(): Promise<void>;
}

export interface PrivateRedisOptions {
  readonly program: RedisProgram;
  /** The folder of its files, readable by their owner only. */
  readonly folder: string;
  /** Lines of the ACL file. */
  readonly users: string;
  /** The user with which it is asked whether it answers, and shut down. */
  readonly admin: { user: string; password: string };
  readonly extraConfig?: readonly string[];
}

/**
 * Starts a Redis server that only this installation uses: on a unix socket, or on a random loopback port
 * where the path is too long for a socket. Every user has a password, each write is on disk before it is
 * answered, and nothing is ever evicted. A server that an earlier run left behind in the folder is shut down
 * first.
 *
 * Throws CodedError `start_failed`. One caller for a folder at a time.
 */
export async function startPrivateRedis(options: PrivateRedisOptions): Promise<PrivateRedis> {
  const { program, folder, users, admin } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const socket = join(folder, 'redis.sock');
  const port = socket.length > MAX_SOCKET_PATH ? await freePort() : undefined;
  const url = port === undefined ? `unix://${socket}` : `redis://127.0.0.1:${port}`;
  const access: RedisAccess = { url, user: admin.user, password: admin.password };
  await shutDown(access).catch(() => undefined);
  rmSync(socket, { force: true });
  writeFileSync(join(folder, 'users.acl'), `${DEFAULT_USER}\n${users}\n`, { mode: 0o600 });
  const config = [
    ...(port === undefined ? ['port 0', `unixsocket ${quoted(socket)}`, 'unixsocketperm 700'] : [`port ${port}`]),
    `dir ${quoted(folder)}`,
    `aclfile ${quoted(join(folder, 'users.acl'))}`,
    'bind 127.0.0.1',
    'protected-mode yes',
    ...SERVER_CONFIG,
    ...(options.extraConfig ?? []),
  ];
  writeFileSync(join(folder, 'redis.conf'), `${config.join('\n')}\n`, { mode: 0o600 });
  const { child, exited } = spawnServer(program, folder);
  try {
    await answers(access, exited);
  } catch (cause) {
    child.kill('SIGKILL');
    throw new CodedError(
      'start_failed',
      `Redis did not start: ${messageOf(cause)}; ${join(folder, 'redis.log')} says why.`,
      { cause },
    );
  }
  return {
    url,
    process: child,
    async stop() {
      await shutDown(access).catch(() => child.kill('SIGTERM'));
      await exited;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** What every server of ours is configured with, wherever it listens. */
export const SERVER_CONFIG = [
  'appendonly yes',
  // What is answered must survive a crash; `everysec` could lose the last second.
  'appendfsync always',
  'aof-load-truncated yes',
  // The default would rewrite the file every few thousand jobs.
  'auto-aof-rewrite-min-size 512mb',
  // Signed documents are near 1 KB: as compact hashes, a kept job takes a sixth less memory.
  'hash-max-listpack-value 2048',
  'save ""',
  'maxmemory-policy noeviction',
  // No honest command comes near this size.
  'proto-max-bulk-len 32mb',
  'client-query-buffer-limit 64mb',
  'acllog-max-len 128',
  'daemonize no',
];

/** Starts the server with the configuration in the folder; its output goes to `redis.log` there. */
function spawnServer(program: RedisProgram, folder: string): { child: ChildProcess; exited: Promise<void> } {
  const log = openSync(join(folder, 'redis.log'), 'a', 0o600);
  const child = spawn(program.path, [join(folder, 'redis.conf')], {
    argv0: 'redis-server',
    env: { ...process.env, ...program.env },
    stdio: ['ignore', log, log],
    // A process group of its own, so that Ctrl-C in the terminal does not reach it: Redis is stopped last.
    detached: true,
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  child.on('error', () => undefined);
  return { child, exited };
}

function client(access: RedisAccess): Redis {
  const where = access.url.startsWith('unix://')
    ? { path: access.url.slice(7) }
    : { host: '127.0.0.1', port: Number(new URL(access.url).port) };
  const redis = new Redis({
    ...where,
    username: access.user ?? '',
    password: access.password ?? '',
    disableClientInfo: true,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  redis.on('error', () => undefined);
  return redis;
}

/**
 * Resolves when the server answers; throws the last error where it exits first or takes longer than START_MS.
 */
async function answers(access: RedisAccess, exited: Promise<void>): Promise<void> {
  const until = performance.now() + START_MS;
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  for (;;) {
    const redis = client(access);
    try {
      await redis.connect();
      await whenReady(redis, 1_000);
      return;
    } catch (error) {
      if (hasEnded() || performance.now() > until) throw error;
      await sleep(20);
    } finally {
      redis.disconnect();
    }
  }
  function hasEnded(): boolean {
    return ended;
  }
}

async function shutDown(access: RedisAccess): Promise<void> {
  const redis = client(access);
  try {
    await redis.connect();
    await redis.shutdown('NOSAVE');
  } catch (error) {
    // A server that shuts down closes the connection instead of answering.
    if (!/closed|ended|ECONNRESET/i.test(messageOf(error))) throw error;
  } finally {
    redis.disconnect();
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

function quoted(path: string): string {
  return `"${path.replace(/(["\\])/g, '\\$1')}"`;
}

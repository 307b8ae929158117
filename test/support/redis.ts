import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { RedisKeys } from '../../src/ground/redis/keys.ts';
import { aclFile, redisUsers } from '../../src/ground/redis/acl.ts';
import { redisOptions, type RedisAccess } from '../../src/ground/redis/connection.ts';
import { findRedisServer, startPrivateRedis, type PrivateRedis } from '../../src/ground/redis/redis-server.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const PASSWORD = 'for-tests-only';
export type Pool = 'default' | 'gold' | 'hands';
/** Who connects; the workers of each pool have a user of their own. */
export type TestUser = 'api' | 'attestor' | 'admin' | `worker.${Pool}`;
const hash = createHash('sha256').update(PASSWORD).digest('hex');

/** What a test may run the product on: one server, or several that stand in for each other. */
export interface TestServers extends AsyncDisposable {
  readonly url: string;
  readonly keys: RedisKeys;
  /** A connection with the rights of a role, or all rights. */
  client(user?: TestUser): Redis;
}

/** A real Redis server with the product's own users, in a folder of its own; gone when disposed of. */
export class TestRedis implements TestServers {
  readonly folder: string;
  readonly keys = new RedisKeys('cs');
  #server: PrivateRedis;
  readonly #clients: Redis[] = [];
  #admin: Redis | undefined;
  readonly #extra: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  private constructor(
    folder: string,
    server: PrivateRedis,
    extra: readonly string[],
    env: Readonly<Record<string, string>>,
  ) {
    this.folder = folder;
    this.#server = server;
    this.#extra = extra;
    this.#env = env;
  }

  /** With these lines in its configuration, and these variables in its environment. */
  static async start(extra: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<TestRedis> {
    const folder = mkdtempSync(join(tmpdir(), 'cs-redis-'));
    return new TestRedis(folder, await launch(folder, extra, env), extra, env);
  }

  get url(): string {
    return this.#server.url;
  }

  get pid(): number {
    return this.#server.process.pid ?? 0;
  }

  access(user: TestUser): RedisAccess {
    return { url: this.url, user, password: PASSWORD };
  }

  /** A new connection with the rights of a role, or all rights. */
  client(user: TestUser = 'admin'): Redis {
    const redis = new Redis(redisOptions(this.access(user), 'patient'));
    redis.on('error', () => undefined);
    this.#clients.push(redis);
    return redis;
  }

  /** The connection with all rights of those who look again and again. */
  get admin(): Redis {
    return (this.#admin ??= this.client());
  }

  async kill(): Promise<void> {
    await this.#server.kill();
  }

  async restart(): Promise<void> {
    this.#server = await launch(this.folder, this.#extra, this.#env);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    await this.#server.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function launch(
  folder: string,
  extra: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<PrivateRedis> {
  const found = await findRedisServer(join(ROOT, '.countersign', 'redis-server'), (line) =>
    process.stderr.write(`${line}\n`),
  );
  const roles = redisUsers(['default', 'gold', 'hands']).map((user) => ({ user, passwordSha256: hash }));
  const users = `${aclFile(new RedisKeys('cs').prefix, roles)}\nuser admin on ~* &* +@all #${hash}`;
  return startPrivateRedis({
    program: { ...found, env: { ...found.env, ...env } },
    folder,
    users,
    admin: { user: 'admin', password: PASSWORD },
    extraConfig: extra,
  });
}

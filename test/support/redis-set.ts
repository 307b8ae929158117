import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { aclFile, redisUsers } from '../../src/ground/redis/acl.ts';
import { redisOptions, type RedisAccess } from '../../src/ground/redis/connection.ts';
import { RedisKeys } from '../../src/ground/redis/keys.ts';
import { DEFAULT_USER, findRedisServer, type RedisProgram } from '../../src/ground/redis/redis-server.ts';
import { until } from './pipeline.ts';
import { fixedPort } from './ports.ts';
import { PASSWORD, ROOT, type TestServers, type TestUser } from './redis.ts';

/** The name of the master at the sentinels, and their password. */
export const MASTER = 'main';
export const SENTINEL_PASSWORD = 'for-sentinels-only';
/** A server that says nothing for so long is deposed; longer than a busy machine lets a live one wait. */
const DOWN_AFTER_MS = 3_000;

/** A real server process of a set, on a port of its own that it keeps through restarts. */
export class Node {
  readonly port: number;
  readonly #folder: string;
  readonly #program: RedisProgram;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  constructor(parts: { port: number; folder: string; program: RedisProgram; config: string[]; args?: string[] }) {
    this.port = parts.port;
    this.#folder = join(parts.folder, String(parts.port));
    this.#program = parts.program;
    this.#args = parts.args ?? [];
    mkdirSync(this.#folder);
    const config = [`port ${this.port}`, 'bind 127.0.0.1', `dir "${this.#folder}"`, ...parts.config];
    writeFileSync(join(this.#folder, 'redis.conf'), `${config.join('\n')}\n`);
  }

  start(): void {
    const log = openSync(join(this.#folder, 'redis.log'), 'a');
    this.#process = spawn(this.#program.path, [join(this.#folder, 'redis.conf'), ...this.#args], {
      env: { ...process.env, ...this.#program.env },
      stdio: ['ignore', log, log],
    });
  }

  /** SIGKILL, or SIGSTOP for a server whose machine has lost its power and says nothing any more. */
  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(signal);
  }

  /** A connection to this server and no other. */
  async ask<T>(use: (redis: Redis) => Promise<T>, password = PASSWORD): Promise<T> {
    const redis = new Redis({
      port: this.port,
      ...(password === PASSWORD ? { username: 'admin' } : {}),
      password,
      disableClientInfo: true,
      enableReadyCheck: false,
    });
    redis.on('error', () => undefined);
    try {
      return await use(redis);
    } finally {
      redis.disconnect();
    }
  }
}

/** Real servers that stand in for each other, with the product's users on each; gone when disposed of. */
abstract class RedisSet implements TestServers {
  readonly keys = new RedisKeys('cs');
  readonly folder = mkdtempSync(join(tmpdir(), 'cs-set-'));
  readonly #clients: Redis[] = [];
  readonly nodes: Node[] = [];

  abstract get url(): string;

  access(user: TestUser): RedisAccess {
    return { url: this.url, user, password: PASSWORD, shard: 'cs', sentinelPassword: SENTINEL_PASSWORD };
  }

  /** A connection as a role has it, to whichever server is the master. */
  client(user: TestUser = 'admin'): Redis {
    const redis = new Redis(redisOptions(this.access(user), 'patient'));
    redis.on('error', () => undefined);
    this.#clients.push(redis);
    return redis;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    for (const node of this.nodes) node.signal('SIGKILL');
    await new Promise((resolve) => setImmediate(resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const hash = createHash('sha256').update(PASSWORD).digest('hex');

/** What every server has that keeps jobs. */
function serverConfig(folder: string): string[] {
  const roles = redisUsers(['default', 'gold', 'hands']).map((user) => ({ user, passwordSha256: hash }));
  const users = `${aclFile(new RedisKeys('cs').prefix, roles)}\nuser admin on ~* &* +@all #${hash}`;
  const path = join(folder, 'users.acl');
  writeFileSync(path, `${DEFAULT_USER}\n${users}\n`);
  return [
    `aclfile "${path}"`,
    'appendonly yes',
    'save ""',
    'masteruser admin',
    `masterauth ${PASSWORD}`,
    'repl-diskless-sync-delay 0',
    'repl-timeout 10',
  ];
}

function program(): Promise<RedisProgram> {
  return findRedisServer(join(ROOT, '.countersign', 'redis-server'), (line) => process.stderr.write(`${line}\n`));
}

/** One master, two replicas and three sentinels, which ask for a password. */
export class SentinelSet extends RedisSet {
  readonly #sentinels: Node[] = [];

  /** `more`: lines of the configuration of each server. */
  static async start(more: readonly string[] = []): Promise<SentinelSet> {
    const set = new SentinelSet();
    const { folder, nodes } = set;
    const shared = { folder, program: await program() };
    const config = [...serverConfig(folder), ...more];
    const master = new Node({ ...shared, port: await fixedPort(), config });
    nodes.push(master);
    for (let replica = 0; replica < 2; replica += 1)
      nodes.push(
        new Node({ ...shared, port: await fixedPort(), config: [...config, `replicaof 127.0.0.1 ${master.port}`] }),
      );
    for (const node of nodes) node.start();
    await until(async () => (await set.#inSync()) === 2);
    for (let sentinel = 0; sentinel < 3; sentinel += 1) {
      const watch = [
        `requirepass ${SENTINEL_PASSWORD}`,
        `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 2`,
        `sentinel auth-user ${MASTER} admin`,
        `sentinel auth-pass ${MASTER} ${PASSWORD}`,
        `sentinel down-after-milliseconds ${MASTER} ${DOWN_AFTER_MS}`,
        `sentinel failover-timeout ${MASTER} 10000`,
      ];
      set.#sentinels.push(new Node({ ...shared, port: await fixedPort(), config: watch, args: ['--sentinel'] }));
    }
    for (const node of set.#sentinels) node.start();
    nodes.push(...set.#sentinels);
    await until(async () => (await Promise.all(set.#sentinels.map(knowsAll))).every((knows) => knows));
    return set;
  }

  override get url(): string {
    return `redis+sentinel://${this.#sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${MASTER}`;
  }

  /** The server that is the master now, as a sentinel says. */
  async master(): Promise<Node> {
    const [sentinel] = this.#sentinels;
    const told = await sentinel?.ask(
      (redis) => redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER),
      SENTINEL_PASSWORD,
    );
    const port = Array.isArray(told) ? Number(told[1]) : 0;
    const found = this.nodes.find((node) => node.port === port);
    if (found === undefined) throw new Error(`No server of the set has port ${port}.`);
    return found;
  }

  /** Replicas that the first master has and that are in step with it. */
  async #inSync(): Promise<number> {
    const info = await this.nodes[0]?.ask((redis) => redis.info('replication'));
    return info?.match(/state=online/g)?.length ?? 0;
  }
}

async function knowsAll(sentinel: Node): Promise<boolean> {
  const facts = await sentinel.ask((redis) => redis.info('sentinel'), SENTINEL_PASSWORD);
  return /status=ok,.*slaves=2,sentinels=3/.test(facts);
}

/** A Cluster of three masters and a replica of each, made with the commands that any tool would send. */
export class RedisCluster extends RedisSet {
  static async start(more: readonly string[] = []): Promise<RedisCluster> {
    const set = new RedisCluster();
    const { folder, nodes } = set;
    const shared = { folder, program: await program() };
    const buses: number[] = [];
    for (let at = 0; at < 6; at += 1) {
      const bus = await fixedPort();
      buses.push(bus);
      const config = [
        ...serverConfig(folder),
        ...more,
        'cluster-enabled yes',
        `cluster-node-timeout ${DOWN_AFTER_MS}`,
        `cluster-port ${bus}`,
      ];
      nodes.push(new Node({ ...shared, port: await fixedPort(), config }));
    }
    for (const node of nodes) node.start();
    const [first] = nodes;
    if (first === undefined) throw new Error('There is no node.');
    const masters = nodes.slice(0, 3);
    for (const [at, master] of masters.entries())
      await master.ask(async (redis) => {
        const [from, to] = [Math.ceil((at * 16_384) / 3), Math.ceil(((at + 1) * 16_384) / 3) - 1];
        await redis.call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
        await redis.call('CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1));
      });
    for (const [at, node] of nodes.entries())
      if (at > 0)
        await first.ask((redis) => redis.call('CLUSTER', 'MEET', '127.0.0.1', String(node.port), String(buses[at])));
    await until(async () => (await Promise.all(nodes.map((node) => knownNodes(node)))).every((known) => known === 6));
    for (const [at, master] of masters.entries()) {
      const id = String(await master.ask((redis) => redis.call('CLUSTER', 'MYID')));
      await nodes[at + 3]?.ask((redis) => redis.call('CLUSTER', 'REPLICATE', id));
    }
    await until(async () => {
      const states = await Promise.all(nodes.map((node) => node.ask((redis) => redis.cluster('INFO'))));
      const slots = await first.ask((redis) => redis.cluster('SLOTS'));
      const links = await Promise.all(nodes.slice(3).map((node) => node.ask((redis) => redis.info('replication'))));
      return (
        states.every((state) => state.includes('cluster_state:ok')) &&
        slots.every((range) => range.length === 4) &&
        links.every((link) => link.includes('master_link_status:up'))
      );
    });
    return set;
  }

  override get url(): string {
    return `redis+cluster://${this.nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  /** The node that holds our shard now, as the node with this number sees it. */
  async holder(seenBy = 0): Promise<Node> {
    const found = await this.nodes[seenBy]?.ask(async (redis) => {
      const slot = Number(await redis.call('CLUSTER', 'KEYSLOT', '{cs}'));
      const range = (await redis.cluster('SLOTS')).find(([from, to]) => from <= slot && slot <= to);
      return this.nodes.find(({ port }) => port === range?.[2]?.[1]);
    });
    if (found === undefined) throw new Error('No node holds the shard.');
    return found;
  }
}

async function knownNodes(node: Node): Promise<number> {
  return Number(/cluster_known_nodes:(\d+)/.exec(await node.ask((redis) => redis.cluster('INFO')))?.[1]);
}

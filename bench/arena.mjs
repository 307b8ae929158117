// A private Redis, keys and processes for one side of a comparison. Everything is stopped by `close`,
// and by the end of this process: a round that throws must leave nothing that runs.
// NestJS' decorators need the metadata that every role's `main` loads first.
import 'reflect-metadata';
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

export const dist = (path) => import(new URL(`../dist/${path}`, import.meta.url).href);
const root = new URL('..', import.meta.url).pathname;
const { findRedisServer, startPrivateRedis } = await dist('ground/redis/redis-server.js');
const { aclFile, redisUsers } = await dist('ground/redis/acl.js');
const { RedisKeys } = await dist('ground/redis/keys.js');
const { ensureSigningKey, writeSecretFile } = await dist('ground/keys/key-file.js');
const { SecretsKeys } = await dist('ground/keys/secrets-keys.js');
const { signWorkerList, workerEntry } = await dist('core/registry/worker-list.js');
const { keyringEntry } = await dist('proof/receipts/keyring.js');
const { formatVkey, noteKey } = await dist('proof/tlog/signed-note.js');
const { sha256Hex } = await dist('ground/blobs/sha256.js');

export const SHARD = 'cs';
export const keys = new RedisKeys(SHARD);
export const MODEL = {
  name: 'noop',
  pool: 'default',
  tasks: ['completion', 'chat'],
  engine: 'noop',
  sha256: sha256Hex(''),
  parallel: 50,
};
const PASSWORD = 'bench';
const hash = createHash('sha256').update(PASSWORD).digest('hex');

/** `workers`: how many keys of workers are enrolled, `worker.key`, `worker-1.key` and so on. */
export async function openArena(models = [MODEL], { workers = 1 } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'cs-bench-'));
  const program = await findRedisServer(join(root, '.countersign', 'redis-server'), (line) =>
    process.stderr.write(`${line}\n`),
  );
  const server = await startPrivateRedis({
    program,
    folder: join(folder, 'redis'),
    users: `${aclFile(
      keys.prefix,
      redisUsers(['default']).map((user) => ({ user, passwordSha256: hash })),
    )}\nuser admin on ~* &* +@all #${hash}`,
    admin: { user: 'admin', password: PASSWORD },
  });
  const connect = (user = 'admin') =>
    new Redis({
      path: server.url.slice(7),
      username: user,
      password: PASSWORD,
      disableClientInfo: true,
      maxRetriesPerRequest: null,
    });
  const admin = connect();
  const children = [];
  const killAll = () => {
    for (const { pid } of [server.process, ...children]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  };
  process.once('exit', killAll);

  const api = ensureSigningKey(join(folder, 'api.key'));
  const secrets = new SecretsKeys(ensureSigningKey(join(folder, 'secrets.key')));
  const attestor = ensureSigningKey(join(folder, 'attestor.key'));
  const log = ensureSigningKey(join(folder, 'log.key'));
  const registry = ensureSigningKey(join(folder, 'registry.key'));
  const workerKeys = Array.from({ length: workers }, (_, at) =>
    ensureSigningKey(join(folder, at === 0 ? 'worker.key' : `worker-${at}.key`)),
  );
  const past = new Date(Date.now() - 60_000).toISOString();
  const keyring = {
    version: 1,
    keys: [
      keyringEntry('api', api.public, past),
      keyringEntry('attestor', attestor.public, past),
      keyringEntry('registry', registry.public, past),
    ],
    logPolicy: `log ${formatVkey(noteKey('countersign.bench/log', 'ed25519', log.public))}\nquorum none\n`,
  };
  writeFileSync(join(folder, 'keyring.json'), JSON.stringify(keyring));
  writeFileSync(
    join(folder, 'workers.json'),
    signWorkerList(
      {
        version: 3,
        serial: 1,
        issuedAt: past,
        expires: new Date(Date.now() + 86_400_000).toISOString(),
        workers: workerKeys.map((worker) => workerEntry(worker.public, 'bench', past)),
      },
      registry,
    ),
  );
  writeFileSync(join(folder, 'models.json'), JSON.stringify({ version: 1, models }));
  writeSecretFile(join(folder, 'redis.password'), PASSWORD);
  mkdirSync(join(folder, 'blobs'));

  /** Starts a process and waits for its line `{"ready":true…`. */
  async function start(script, env, args = [], nodeOptions = []) {
    const child = spawn(process.execPath, [...nodeOptions, join(root, script), ...args], {
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        REDIS_SOCKET: server.url.slice(7),
        REDIS_PASSWORD: PASSWORD,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const facts = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on(
        'line',
        (line) => line.startsWith('{"ready":true') && resolve(JSON.parse(line)),
      );
      child.once('exit', (code) => reject(new Error(`${script} ended with ${code}`)));
    });
    return { child, facts };
  }

  const role = (name, env = {}, nodeOptions = [], script = `dist/roles/${name}/main.js`) =>
    start(
      script,
      {
        COUNTERSIGN_REDIS_URL: server.url,
        COUNTERSIGN_REDIS_USER: name === 'courier' ? 'api' : name === 'worker' ? 'worker.default' : name,
        COUNTERSIGN_REDIS_PASSWORD_FILE: join(folder, 'redis.password'),
        COUNTERSIGN_BLOBS: join(folder, 'blobs'),
        COUNTERSIGN_CATALOG: join(folder, 'models.json'),
        COUNTERSIGN_LOG_LEVEL: 'warn',
        ...(name === 'api' || name === 'courier'
          ? {
              COUNTERSIGN_TICKET_KEY_FILE: join(folder, 'api.key'),
              COUNTERSIGN_SECRETS_KEY_FILES: join(folder, 'secrets.key'),
              COUNTERSIGN_TLOG: join(folder, 'log'),
              COUNTERSIGN_KEYRING: join(folder, 'keyring.json'),
              COUNTERSIGN_FILES: join(folder, 'files'),
            }
          : {}),
        ...(name === 'api' ? { COUNTERSIGN_PORT: '0' } : {}),
        ...(name === 'worker'
          ? {
              COUNTERSIGN_WORKER_KEY_FILE: join(folder, 'worker.key'),
              COUNTERSIGN_BLOBS: join(folder, 'blobs/pools/default'),
            }
          : {}),
        ...(name === 'attestor'
          ? {
              COUNTERSIGN_ATTESTOR_KEY_FILE: join(folder, 'attestor.key'),
              COUNTERSIGN_TLOG_KEY_FILE: join(folder, 'log.key'),
              COUNTERSIGN_TLOG: join(folder, 'log'),
              COUNTERSIGN_KEYRING: join(folder, 'keyring.json'),
              COUNTERSIGN_ENROLLED_WORKERS: join(folder, 'workers.json'),
            }
          : {}),
        ...env,
      },
      [],
      nodeOptions,
    );

  /** CPU time (ms) that this side's processes and its Redis have used so far. */
  const cpuMs = () =>
    [server.process, ...children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)].reduce(
      (sum, { pid }) => sum + cpuOf(pid),
      0,
    );

  /** The same by process: the program's path, or `redis`. */
  const cpuByProcess = () => [
    ['redis', cpuOf(server.process.pid)],
    ...children
      .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      .map(({ pid, spawnargs }) => [spawnargs.find((word) => word.startsWith(root)), cpuOf(pid)]),
  ];

  return {
    folder,
    cpuMs,
    cpuByProcess,
    server,
    admin,
    connect,
    start,
    role,
    apiKey: api,
    secrets,
    keyring,
    async close() {
      await Promise.all(
        children.map(
          (child) =>
            new Promise((resolve) => {
              if (child.exitCode !== null || child.signalCode !== null) return resolve();
              child.once('exit', resolve);
              child.kill('SIGKILL');
            }),
        ),
      );
      admin.disconnect();
      await server.stop();
      process.off('exit', killAll);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * User and system time of a process, all its threads, in ms; the kernel counts in hundredths of a second
 * (proc(5)).
 */
function cpuOf(pid) {
  const [, rest = ''] = /\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
  const fields = rest.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The middle value; of an even count the mean of the two middles. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
export const quantile = (values, q) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];
export const pause = (ms) => sleep(ms);

/** Resident memory of a process now, and the most that it had, in MiB. */
export const memoryMb = (pid) => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1_024;
  return { now: of('VmRSS'), most: of('VmHWM') };
};

/** A key of a tenant, as text; it may register webhooks. */
export async function apiKey(arena) {
  const { ApiKeys } = await dist('surfaces/tenants/api-key.store.js');
  const redis = arena.connect('api');
  const scopes = ['submit', 'read', 'tenant_admin'];
  const { text } = await new ApiKeys(redis, keys).create('bench', { tenant: 'bench', scopes });
  redis.disconnect();
  return text;
}

/** An API's admission in this process, with connections of its own; `close` ends them. `prices` as JSON. */
export async function openAdmission(arena, model, prices) {
  const { Admission } = await dist('surfaces/admission/admission.js');
  const { JobReader } = await dist('core/jobs/job.reader.js');
  const { Durability } = await dist('ground/redis/durability.js');
  const { PoolQueues } = await dist('ground/bull/pool-queues.js');
  const { queueOptions } = await dist('ground/bull/queue-options.js');
  const { Backlog } = await dist('core/backlog/backlog.js');
  const { Queue } = await import('bullmq');
  const { BlobFolders } = await dist('ground/blobs/blob-folders.js');
  const { Catalog, CatalogModel } = await dist('core/catalog/catalog.js');
  const { Outlooks } = await dist('core/forecast/outlooks.js');
  const { createLogger } = await dist('ground/logging/logger.js');
  const { StorageGate } = await dist('ground/redis/storage-gate.js');
  const { PriceTable } = await dist('surfaces/ledger/price-table.js');
  const { Webhooks } = await dist('surfaces/webhooks/webhook.store.js');
  const [redis, queueRedis] = [arena.connect('api'), arena.connect('api')];
  const catalog = new Catalog([CatalogModel.parse(model)]);
  const queues = catalog.queues().map((name) => new Queue(name, queueOptions(queueRedis, keys.poolQueues('default'))));
  const backlog = new Backlog({
    redis,
    keys,
    queues: new PoolQueues(queues),
    logger: createLogger('bench', 'error'),
  });
  backlog.start();
  const admission = new Admission({
    redis,
    keys,
    durability: new Durability({ kind: 'always' }),
    gate: new StorageGate(redis, { share: 0.9 }),
    reader: new JobReader(redis, keys, keys.open),
    backlog,
    outlooks: new Outlooks(redis, keys, 0.99),
    blobs: new BlobFolders(`${arena.folder}/blobs`),
    catalog,
    signingKey: arena.apiKey,
    defaultRecompute: 0,
    prices: prices === undefined ? PriceTable.free() : PriceTable.parse(JSON.stringify(prices), 'prices'),
    webhooks: new Webhooks(redis, keys, arena.secrets),
    egress: { allowPrivate: false },
  });
  return {
    admission,
    close() {
      void backlog.stop();
      redis.disconnect();
      queueRedis.disconnect();
    },
  };
}

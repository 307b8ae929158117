import { poolFolder } from '../../src/ground/blobs/blob-folders.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobDocument } from '../../src/proof/contract/job-document.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { EmbedEngine } from '../../src/core/engines/embed-engine.ts';
import { ensureSigningKey, writeSecretFile } from '../../src/ground/keys/key-file.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { formatVkey, noteKey } from '../../src/proof/tlog/signed-note.ts';
import { Keyring, keyringEntry, type KeyringFile } from '../../src/proof/receipts/keyring.ts';
import { signWorkerList, workerEntry, type WorkerEntry, type WorkerList } from '../../src/core/registry/worker-list.ts';
import { SCOPES, mayHold, type Scope } from '../../src/surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { HandWorker } from './hand-worker.ts';
import { PASSWORD, ROOT, TestRedis, type Pool, type TestServers } from './redis.ts';

const MODEL_FILE = join(ROOT, 'models', 'kjv-1m-q8_0.gguf');
export const KJV_SHA256 = '5b80c4fce852bbdd6d889bcb77ffc1b3de55f1541b9aa49a53ef9e0280ee2090';

export const NOOP_MODEL = {
  name: 'noop',
  pool: 'default',
  tasks: ['completion', 'chat'],
  engine: 'noop',
  sha256: sha256Hex(''),
  // What it is expected to take is what it may generate.
  hint: { base_ms: 0, token_ms: 1 },
  parallel: 32,
};
export const KJV_MODEL = {
  name: 'kjv-1m',
  pool: 'default',
  tasks: ['completion', 'chat'],
  engine: 'llama',
  file: MODEL_FILE,
  sha256: KJV_SHA256,
  contextTokens: 256,
  parallel: 4,
  threads: 1,
};
/** A model of a pool where nobody works, so that a test can play the worker. */
export const BY_HAND_MODEL = { ...NOOP_MODEL, name: 'by-hand', pool: 'hands' };
export const embedModel = () => ({
  name: 'use-lite',
  pool: 'default',
  tasks: ['embedding'],
  engine: 'embed',
  sha256: EmbedEngine.weightsDigest(),
});

export interface Role {
  readonly name: string;
  readonly process: ChildProcess;
  readonly facts: Record<string, unknown>;
  readonly stderr: () => string;
  readonly exited: Promise<number | string>;
}

type Env = Record<string, string>;

/** For a worker whose lease is to run out: short, so that nobody waits long for it. */
export const SHORT_LEASE = { COUNTERSIGN_LEASE_MS: '1500', COUNTERSIGN_HEARTBEAT_MS: '300' };

/** Redis and built processes, each as an operator would run them, in a folder of its own. */
export class Pipeline<Servers extends TestServers = TestRedis> implements AsyncDisposable {
  readonly redis: Servers;
  readonly folder: string;
  readonly apiKey: SigningKey;
  readonly attestorKey: SigningKey;
  readonly logKey: SigningKey;
  readonly registryKey: SigningKey;
  readonly workerKeys: SigningKey[];
  readonly keyring: Keyring;
  readonly dist: string;
  readonly #roles: Role[] = [];
  #serial = 0;
  #url = '';

  private constructor(redis: Servers, folder: string, dist: string) {
    this.redis = redis;
    this.folder = folder;
    this.dist = dist;
    this.apiKey = ensureSigningKey(join(folder, 'api.key'));
    ensureSigningKey(join(folder, 'secrets.key'));
    this.attestorKey = ensureSigningKey(join(folder, 'attestor.key'));
    this.registryKey = ensureSigningKey(join(folder, 'registry.key'));
    this.logKey = ensureSigningKey(join(folder, 'log.key'));
    this.workerKeys = [1, 2, 3, 4].map((number) => ensureSigningKey(join(folder, `worker-${number}.key`)));
    const past = new Date(Date.now() - 60_000).toISOString();
    const file: KeyringFile = {
      version: 1,
      keys: [
        keyringEntry('api', this.apiKey.public, past),
        keyringEntry('attestor', this.attestorKey.public, past),
        keyringEntry('registry', this.registryKey.public, past),
      ],
      logPolicy: `log ${formatVkey(noteKey('countersign.test/log', 'ed25519', this.logKey.public))}\nquorum none\n`,
    };
    writeFileSync(join(folder, 'keyring.json'), JSON.stringify(file));
    this.keyring = new Keyring(file);
    this.enrolWithPools(this.workerKeys.map(() => ['default', 'gold', 'hands']));
    writeSecretFile(join(folder, 'redis.password'), PASSWORD);
    writeSecretFile(join(folder, 'memory.key'), Buffer.alloc(32, 7).toString('base64url'));
    mkdirSync(join(folder, 'blobs'));
  }

  /** Enrols our workers of two operators, each for these pools. */
  enrolWithPools(pools: readonly (readonly string[])[], change: Partial<WorkerList> = {}): void {
    const past = new Date(Date.now() - 60_000).toISOString();
    this.enrol(
      this.workerKeys.map(({ public: key }, at) => workerEntry(key, ['north', 'south'][at % 2] ?? '', past, pools[at])),
      change,
    );
  }

  /** Signs a list of workers and puts it where attestors look; each call is a new serial. */
  enrol(workers: readonly WorkerEntry[], change: Partial<WorkerList> = {}): void {
    this.#serial += 1;
    const list: WorkerList = {
      version: 3,
      serial: this.#serial,
      issuedAt: new Date().toISOString(),
      expires: new Date(Date.now() + 86_400_000).toISOString(),
      workers: [...workers],
      ...change,
    };
    const aside = join(this.folder, 'workers.json.new');
    writeFileSync(aside, signWorkerList(list, this.registryKey));
    renameSync(aside, join(this.folder, 'workers.json'));
  }

  /** Redis and files; roles are started one by one. */
  static async prepare(
    models: readonly object[] = [NOOP_MODEL],
    options: { dist?: string; redisConfig?: readonly string[]; redisEnv?: Env } = {},
  ): Promise<Pipeline> {
    return Pipeline.over(await TestRedis.start(options.redisConfig, options.redisEnv), models, options.dist);
  }

  /** Files for these servers; roles are started one by one. */
  static over<Servers extends TestServers>(
    redis: Servers,
    models: readonly object[] = [NOOP_MODEL],
    dist = join(ROOT, 'dist'),
  ): Pipeline<Servers> {
    const pipeline = new Pipeline(redis, mkdtempSync(join(tmpdir(), 'cs-data-')), dist);
    writeFileSync(join(pipeline.folder, 'models.json'), JSON.stringify({ version: 1, models }));
    return pipeline;
  }

  /** The usual: one api, workers, attestors. */
  static async start(
    options: {
      models?: readonly object[];
      workers?: number;
      attestors?: number;
      couriers?: number;
      env?: Env;
    } = {},
  ): Promise<Pipeline> {
    const pipeline = await Pipeline.prepare(options.models);
    const env = options.env ?? {};
    await Promise.all([
      pipeline.api(env),
      ...Array.from({ length: options.workers ?? 2 }, (_, index) => pipeline.worker(index + 1, env)),
      ...Array.from({ length: options.attestors ?? 1 }, () => pipeline.attestor(env)),
      ...Array.from({ length: options.couriers ?? 0 }, () => pipeline.courier(env)),
    ]);
    return pipeline;
  }

  get url(): string {
    return this.#url;
  }

  /** What an operator must set for a role, and what makes a test quick. */
  environment(role: 'api' | 'courier' | 'worker' | 'gateway' | 'attestor'): Env {
    const path = (name: string) => join(this.folder, name);
    const published = { COUNTERSIGN_TLOG: path('log'), COUNTERSIGN_KEYRING: path('keyring.json') };
    const served = {
      COUNTERSIGN_TICKET_KEY_FILE: path('api.key'),
      COUNTERSIGN_SECRETS_KEY_FILES: path('secrets.key'),
      COUNTERSIGN_FILES: path('files'),
      COUNTERSIGN_MEMORY_SOCKET: path('memory.sock'),
      ...published,
    };
    const memory = { COUNTERSIGN_MEMORY: path('memory'), COUNTERSIGN_MEMORY_KEY_FILE: path('memory.key') };
    const own: Record<typeof role, Env> = {
      api: { ...served, COUNTERSIGN_PORT: '0' },
      courier: { ...served, ...memory },
      // No lease runs out on a slow machine unless a test wants it to: see SHORT_LEASE.
      worker: { COUNTERSIGN_WORKER_KEY_FILE: path('worker-1.key'), COUNTERSIGN_LEASE_MS: '60000' },
      gateway: { COUNTERSIGN_PORT: '0' },
      attestor: {
        COUNTERSIGN_ATTESTOR_KEY_FILE: path('attestor.key'),
        // Tests kill workers again and again, and no job of theirs is to blame.
        COUNTERSIGN_LOST_WORKERS: '10',
        COUNTERSIGN_TLOG_KEY_FILE: path('log.key'),
        COUNTERSIGN_ENROLLED_WORKERS: path('workers.json'),
        COUNTERSIGN_SWEEP_MS: '100',
        ...published,
      },
    };
    return {
      PATH: process.env['PATH'] ?? '',
      HOME: this.folder,
      COUNTERSIGN_REDIS_URL: this.redis.url,
      COUNTERSIGN_REDIS_USER: role === 'courier' ? 'api' : role === 'worker' ? 'worker.default' : role,
      COUNTERSIGN_REDIS_PASSWORD_FILE: path('redis.password'),
      COUNTERSIGN_BLOBS: path('blobs'),
      COUNTERSIGN_CATALOG: path('models.json'),
      COUNTERSIGN_LOG_LEVEL: 'info',
      ...own[role],
    };
  }

  async api(extra: Env = {}): Promise<Role> {
    const role = await this.run('api', 'api', { ...this.environment('api'), ...pick(extra, 'api') });
    this.#url = String(role.facts['url']);
    return role;
  }

  courier(extra: Env = {}): Promise<Role> {
    return this.run('courier', 'courier', { ...this.environment('courier'), ...pick(extra, 'courier') });
  }

  worker(number: number, extra: Env = {}, pool: Pool = 'default'): Promise<Role> {
    return this.run(`worker-${number}`, 'worker', {
      ...this.environment('worker'),
      COUNTERSIGN_BLOBS: poolFolder(join(this.folder, 'blobs'), pool),
      COUNTERSIGN_POOL: pool,
      COUNTERSIGN_REDIS_USER: `worker.${pool}`,
      COUNTERSIGN_WORKER_KEY_FILE: join(this.folder, `worker-${number}.key`),
      ...pick(extra, 'worker'),
    });
  }

  /** A gateway of a pool; its URL is among its facts. */
  gateway(extra: Env = {}, pool: Pool = 'default'): Promise<Role> {
    return this.run('gateway', 'gateway', {
      ...this.environment('gateway'),
      COUNTERSIGN_BLOBS: poolFolder(join(this.folder, 'blobs'), pool),
      COUNTERSIGN_POOL: pool,
      COUNTERSIGN_REDIS_USER: `worker.${pool}`,
      ...pick(extra, 'gateway'),
    });
  }

  /** A worker that has its key and the address of a gateway, and nothing else. */
  remoteWorker(number: number, gatewayUrl: string, extra: Env = {}, pool: Pool = 'default'): Promise<Role> {
    return this.run(`worker-${number}`, 'worker', {
      PATH: process.env['PATH'] ?? '',
      HOME: this.folder,
      COUNTERSIGN_GATEWAY_URL: gatewayUrl,
      COUNTERSIGN_CATALOG: join(this.folder, 'models.json'),
      COUNTERSIGN_POOL: pool,
      COUNTERSIGN_WORKER_KEY_FILE: join(this.folder, `worker-${number}.key`),
      ...pick(extra, 'worker'),
    });
  }

  attestor(extra: Env = {}): Promise<Role> {
    return this.run('attestor', 'attestor', { ...this.environment('attestor'), ...pick(extra, 'attestor') });
  }

  /** A worker of ours, by its number, in the hands of a test. */
  hand(number: number, leaseMs?: number, pool: Pool = 'default'): HandWorker {
    const key = this.workerKeys[number - 1];
    if (key === undefined) throw new Error(`There is no worker ${number}.`);
    return new HandWorker(this.redis.client(`worker.${pool}`), this.redis.keys, key, leaseMs, pool);
  }

  /** A file in the folder of the processes; its path. */
  file(name: string, content: string | object): string {
    const path = join(this.folder, name);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  }

  /**
   * Stops processes where they stand, as SIGSTOP does. Their announcements go on standing until they run
   * again: whether somebody counts as present must not depend on how long a test takes meanwhile.
   */
  async freeze(...roles: Role[]): Promise<void> {
    const [admin, { keys }] = [this.redis.client(), this.redis];
    const count = (kind: string) => roles.filter(({ name }) => name.startsWith(kind)).length;
    await until(async () => (await admin.zcard(keys.workers('default'))) >= count('worker'));
    await until(async () => (await admin.zcard(keys.attestors)) >= count('attestor'));
    for (const { process } of roles) process.kill('SIGSTOP');
    for (const [names, keyOf] of [
      [keys.workers('default'), (id: string) => keys.worker('default', id)],
      [keys.attestors, (id: string) => keys.attestor(id)],
    ] as const)
      for (const id of await admin.zrange(names, '0', '-1')) await admin.pexpire(keyOf(id), 3_600_000);
  }

  /** Starts a built role and waits for its ready line; rejects with what it said where it ends instead. */
  async run(name: string, role: string, env: Env, dist = this.dist): Promise<Role> {
    const started = this.launch(name, role, env, dist);
    const ready = new Promise<Record<string, unknown>>((resolve) => {
      if (started.process.stdout) {
        createInterface({ input: started.process.stdout }).on('line', (line) => {
          if (line.startsWith('{"ready":true')) resolve(JSON.parse(line) as Record<string, unknown>);
        });
      }
    });
    const facts = await Promise.race([
      ready,
      started.exited.then((code) => {
        throw new Error(`${name} ended with ${code}: ${started.stderr().slice(-2_000)}`);
      }),
    ]);
    const running: Role = { ...started, facts };
    this.#roles.push(running);
    return running;
  }

  launch(name: string, role: string, env: Env, dist = this.dist): Omit<Role, 'facts'> {
    const child = spawn(process.execPath, [join(dist, 'roles', role, 'main.js')], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stderr.on('data', (piece: Buffer) => {
      text = (text + piece.toString()).slice(-200_000);
    });
    const exited = new Promise<number | string>((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? code ?? 0));
    });
    return { name, process: child, stderr: () => text, exited };
  }

  /** Ends every running role of this kind at once, as a crash does. */
  async kill(kind: 'api' | 'courier' | 'worker' | 'gateway' | 'attestor'): Promise<void> {
    for (const { name, process, exited } of this.running()) {
      if (!name.startsWith(kind)) continue;
      process.kill('SIGKILL');
      await exited;
    }
  }

  /** The roles that run, workers first, then attestors, then the api. */
  running(): Role[] {
    const order = (role: Role) => (role.name.startsWith('worker') ? 0 : role.name === 'attestor' ? 1 : 2);
    return this.#roles
      .filter((role) => role.process.exitCode === null && role.process.signalCode === null)
      .toSorted((a, b) => order(a) - order(b));
  }

  /** An API key of a tenant; by default with all that its keys can have. */
  async key(
    tenant = 'acme',
    scopes: readonly Scope[] = SCOPES.filter((scope) => mayHold(tenant, [scope])),
  ): Promise<string> {
    return (await new ApiKeys(this.redis.client('api'), this.redis.keys).create('test', { tenant, scopes })).text;
  }

  async client(tenant?: string): Promise<Client> {
    return new Client(this.url, await this.key(tenant));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const role of this.#roles) role.process.kill('SIGKILL');
    await Promise.all(this.#roles.map((role) => role.exited));
    await this.redis[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
    // No role may ever ask Redis for what its user must not do: it would be a warning, and work left undone.
    const denied = this.#roles.flatMap(
      ({ name, stderr }) => /.*NOPERM.*/.exec(stderr())?.map((line) => `${name}: ${line}`) ?? [],
    );
    if (denied.length > 0) throw new Error(denied.join('\n'));
  }
}

/** `worker:NAME` is for workers only; a bare name for every role. */
function pick(env: Env, role: string): Env {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith(`${role}:`) ? [[name.slice(role.length + 1), value]] : name.includes(':') ? [] : [[name, value]],
    ),
  );
}

export const completion = (prompt: string, more: object = {}) => ({
  model: 'noop',
  task: 'completion',
  input: { prompt },
  ...more,
});

/** How long a client that keeps a role busy rests between one round of jobs and the next. */
const BUSY_REST_MS = 250;

/** How long one request waits for a job, s; whoever waits longer asks again. */
const MAX_WAIT_S = 60;

/** A plain HTTP client, so that tests see what any client would. */
export class Client {
  /** Where the API is now; a test that starts another one changes it. */
  url: string;
  readonly key: string;

  constructor(url: string, key: string) {
    this.url = url;
    this.key = key;
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    // Where a test has waited for a program, the server may have closed a connection that nobody looked at
    // since: that is seen within two turns of the event loop.
    await nextTurn();
    await nextTurn();
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${this.key}`);
    return fetch(`${this.url}${path}`, { ...init, headers });
  }

  /**
   * What a path that only reads answers once the storage responds: a Redis whose disk is busy with other
   * suites says 503 for a while, and any client asks again.
   */
  async #read(path: string, init: RequestInit = {}): Promise<Response> {
    return until(async () => {
      const response = await this.fetch(path, init);
      if (response.status !== 503) return response;
      return (await response.clone().text()).includes('"storage_unavailable"') ? undefined : response;
    });
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }

  async submit(body: unknown, headers: Record<string, string> = {}): Promise<JobDocument> {
    const response = await this.post('/v1/jobs', body, headers);
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as JobDocument;
  }

  async job(id: string, waitS?: number): Promise<JobDocument> {
    const response = await this.#read(
      `/v1/jobs/${id}`,
      waitS === undefined ? {} : { headers: { prefer: `wait=${waitS}` } },
    );
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as JobDocument;
  }

  /** The job once it has ended, however long this machine takes over it. */
  async ended(id: string): Promise<JobDocument> {
    for (;;) {
      const job = await this.job(id, MAX_WAIT_S);
      if (job.ended_at !== null) return job;
    }
  }

  /**
   * Runs so many jobs at a time, again and again, until this role has ended; how it ended. It rests between,
   * since a role often waits for the lease of one that was killed: a load, and not a flood meanwhile.
   */
  async keepBusy(role: Role, atATime: number, name: string, jobs: string[]): Promise<number | string> {
    const rest = () => new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), BUSY_REST_MS));
    for (;;) {
      const made = await Promise.all(Array.from({ length: atATime }, (_, n) => this.run(completion(`${name} ${n}`))));
      jobs.push(...made.map(({ id }) => id));
      const exit = await Promise.race([role.exited, rest()]);
      if (exit !== undefined) return exit;
    }
  }

  /** Submits a job and waits for its end. */
  async run(body: unknown): Promise<JobDocument> {
    const job = await this.submit(body, { prefer: `wait=${MAX_WAIT_S}` });
    return job.ended_at === null ? this.ended(job.id) : job;
  }

  /** What a path answers, or an error where it is refused. */
  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    const response = await this.fetch(path, init);
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  async receipt(id: string): Promise<Buffer> {
    const response = await this.#read(`/v1/jobs/${id}/receipt`);
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return Buffer.from(await response.arrayBuffer());
  }

  async output(id: string): Promise<Buffer> {
    return Buffer.from(await (await this.#read(`/v1/jobs/${id}/output`)).arrayBuffer());
  }
}

/**
 * Far longer than a busy machine takes for anything; whoever waits this long waits for what does not come.
 */
const PATIENCE_MS = 180_000;

/** How long one look waits for the next, ms: at first, and at most when it has been waited for long. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [20, 200];
/** The share of what was waited already: whoever waits long takes little of the machine from the others. */
const PAUSE_SHARE = 0.05;

/**
 * Waits until a condition of the outside world holds; there is nobody to tell us, so we look. The condition
 * must be one that stays true: what holds for a moment only may fall between two looks.
 */
export async function until<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  withinMs = PATIENCE_MS,
): Promise<T> {
  const begin = performance.now();
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    const waitedMs = performance.now() - begin;
    if (waitedMs > withinMs) throw new Error(`It did not happen within ${withinMs} ms.`);
    const pauseMs = Math.min(Math.max(FIRST_PAUSE_MS, waitedMs * PAUSE_SHARE), LONGEST_PAUSE_MS);
    await new Promise((resolve) => setImmediate(() => setTimeout(resolve, pauseMs)));
  }
}

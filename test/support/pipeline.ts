import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
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
import type { Scope } from '../../src/surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { PASSWORD, ROOT, TestRedis } from './redis.ts';

const MODEL_FILE = join(ROOT, 'models', 'kjv-1m-q8_0.gguf');
export const KJV_SHA256 = '5b80c4fce852bbdd6d889bcb77ffc1b3de55f1541b9aa49a53ef9e0280ee2090';

export const NOOP_MODEL = {
  name: 'noop',
  pool: 'default',
  tasks: ['completion', 'chat'],
  engine: 'noop',
  sha256: sha256Hex(''),
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

/** Redis and built processes, each as an operator would run them, in a folder of its own. */
export class Pipeline implements AsyncDisposable {
  readonly redis: TestRedis;
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

  private constructor(redis: TestRedis, folder: string, dist: string) {
    this.redis = redis;
    this.folder = folder;
    this.dist = dist;
    this.apiKey = ensureSigningKey(join(folder, 'api.key'));
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
    this.enrol(this.workerKeys.map(({ public: key }) => workerEntry(key, 'tester', past)));
    writeSecretFile(join(folder, 'redis.password'), PASSWORD);
    mkdirSync(join(folder, 'blobs'));
  }

  /** Signs a list of workers and puts it where attestors look; each call is a new serial. */
  enrol(workers: readonly WorkerEntry[], change: Partial<WorkerList> = {}): void {
    this.#serial += 1;
    const list: WorkerList = {
      version: 2,
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
    options: { dist?: string; redisConfig?: readonly string[] } = {},
  ): Promise<Pipeline> {
    const pipeline = new Pipeline(
      await TestRedis.start(options.redisConfig),
      mkdtempSync(join(tmpdir(), 'cs-data-')),
      options.dist ?? join(ROOT, 'dist'),
    );
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

  environment(role: string): Env {
    return {
      PATH: process.env['PATH'] ?? '',
      HOME: this.folder,
      COUNTERSIGN_REDIS_URL: this.redis.url,
      COUNTERSIGN_REDIS_USER: role,
      COUNTERSIGN_REDIS_PASSWORD_FILE: join(this.folder, 'redis.password'),
      COUNTERSIGN_BLOBS: join(this.folder, 'blobs'),
      COUNTERSIGN_CATALOG: join(this.folder, 'models.json'),
      COUNTERSIGN_LOG_LEVEL: 'info',
    };
  }

  async api(extra: Env = {}): Promise<Role> {
    const role = await this.run('api', 'api', {
      ...this.environment('api'),
      COUNTERSIGN_TICKET_KEY_FILE: join(this.folder, 'api.key'),
      COUNTERSIGN_TLOG: join(this.folder, 'log'),
      COUNTERSIGN_KEYRING: join(this.folder, 'keyring.json'),
      COUNTERSIGN_FILES: join(this.folder, 'files'),
      COUNTERSIGN_PORT: '0',
      ...pick(extra, 'api'),
    });
    this.#url = String(role.facts['url']);
    return role;
  }

  courier(extra: Env = {}): Promise<Role> {
    return this.run('courier', 'courier', {
      ...this.environment('api'),
      COUNTERSIGN_TICKET_KEY_FILE: join(this.folder, 'api.key'),
      COUNTERSIGN_TLOG: join(this.folder, 'log'),
      COUNTERSIGN_KEYRING: join(this.folder, 'keyring.json'),
      COUNTERSIGN_FILES: join(this.folder, 'files'),
      ...pick(extra, 'courier'),
    });
  }

  worker(number: number, extra: Env = {}): Promise<Role> {
    return this.run(`worker-${number}`, 'worker', {
      ...this.environment('worker'),
      ...this.workerEnvironment(number),
      ...pick(extra, 'worker'),
    });
  }

  workerEnvironment(number: number): Env {
    return {
      COUNTERSIGN_WORKER_KEY_FILE: join(this.folder, `worker-${number}.key`),
      COUNTERSIGN_LEASE_MS: '1500',
      COUNTERSIGN_HEARTBEAT_MS: '300',
    };
  }

  attestor(extra: Env = {}): Promise<Role> {
    return this.run('attestor', 'attestor', {
      ...this.environment('attestor'),
      COUNTERSIGN_ATTESTOR_KEY_FILE: join(this.folder, 'attestor.key'),
      COUNTERSIGN_TLOG_KEY_FILE: join(this.folder, 'log.key'),
      COUNTERSIGN_TLOG: join(this.folder, 'log'),
      COUNTERSIGN_KEYRING: join(this.folder, 'keyring.json'),
      COUNTERSIGN_ENROLLED_WORKERS: join(this.folder, 'workers.json'),
      COUNTERSIGN_SWEEP_MS: '100',
      ...pick(extra, 'attestor'),
    });
  }

  /** Starts a built role and waits for its ready line; rejects with what it said where it ends instead. */
  async run(name: string, role: string, env: Env): Promise<Role> {
    const started = this.launch(name, role, env);
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

  launch(name: string, role: string, env: Env): Omit<Role, 'facts'> {
    const child = spawn(process.execPath, [join(this.dist, 'roles', role, 'main.js')], {
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

  /** The roles that run, workers first, then attestors, then the api. */
  running(): Role[] {
    const order = (role: Role) => (role.name.startsWith('worker') ? 0 : role.name === 'attestor' ? 1 : 2);
    return this.#roles
      .filter((role) => role.process.exitCode === null && role.process.signalCode === null)
      .toSorted((a, b) => order(a) - order(b));
  }

  /** An API key of a tenant. */
  async key(tenant = 'acme', scopes: readonly Scope[] = ['submit', 'read', 'admin']): Promise<string> {
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

/** A plain HTTP client, so that tests see what any client would. */
export class Client {
  /** Where the API is now; a test that starts another one changes it. */
  url: string;
  readonly key: string;

  constructor(url: string, key: string) {
    this.url = url;
    this.key = key;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${this.key}`);
    return fetch(`${this.url}${path}`, { ...init, headers });
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
    const response = await this.fetch(
      `/v1/jobs/${id}`,
      waitS === undefined ? {} : { headers: { prefer: `wait=${waitS}` } },
    );
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as JobDocument;
  }

  async receipt(id: string): Promise<Buffer> {
    const response = await this.fetch(`/v1/jobs/${id}/receipt`);
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return Buffer.from(await response.arrayBuffer());
  }

  async output(id: string): Promise<Buffer> {
    return Buffer.from(await (await this.fetch(`/v1/jobs/${id}/output`)).arrayBuffer());
  }
}

/** Waits until a condition of the outside world holds; there is nobody to tell us, so we look. */
export async function until<T>(look: () => Promise<T | undefined | false>, withinMs = 30_000): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`It did not happen within ${withinMs} ms.`);
    await new Promise((resolve) => setImmediate(() => setTimeout(resolve, 20)));
  }
}

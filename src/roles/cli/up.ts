import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createLogger } from '../../ground/logging/logger.ts';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readSecretFile, writeSecretFile } from '../../ground/keys/key-file.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { verifyReceipt } from '../../proof/receipts/receipt.ts';
import { aclRules, REDIS_ROLES } from '../../ground/redis/acl.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { findRedisServer, startPrivateRedis } from '../../ground/redis/redis-server.ts';
import { requireFitRedis } from '../../ground/redis/requirements.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { ApiClient } from './api-client.ts';
import { Child, type ChildSpec } from './children.ts';
import type { Output } from './output.ts';
import { ADMIN, SHARD, passwordOf, prepare, redisUsers, type DataFolder } from './set-up.ts';

export interface UpOptions {
  readonly once: boolean;
  readonly workers: number;
  readonly port: number | undefined;
}

export interface UpResult {
  readonly job: string;
  readonly state: string;
  readonly output: unknown;
  readonly receipt: string;
  readonly verified: boolean;
  readonly checks: string[];
  readonly api: string;
  readonly ms: number;
}

const DEFAULT_PORT = 8181;
const READY_MS = 30_000;
const DEMO = {
  model: 'kjv-1m',
  task: 'completion',
  input: { prompt: 'In the beginning' },
  params: { max_tokens: 48, temperature: 0.7, seed: 7 },
};

/**
 * Starts everything on this machine, runs one real job, verifies its receipt offline, and stays until it is told to
 * stop. Whatever was started is stopped, in whichever step something fails.
 */
export async function up(data: DataFolder, options: UpOptions, out: Output): Promise<UpResult> {
  const stops: (() => unknown)[] = [];
  const stopAll = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  };
  const interrupted = interruption();
  try {
    const result = await Promise.race([startAndProve(data, options, out, stops), interrupted.promise]);
    if (result === 'interrupted') throw new CodedError('start_failed', 'Interrupted before the first job was done.');
    out.result(result);
    if (!options.once) {
      out.say('running until Ctrl-C');
      await interrupted.promise;
      out.say('stopping: workers finish what they run');
    }
    return result;
  } finally {
    await stopAll();
    interrupted.release();
  }
}

async function startAndProve(
  data: DataFolder,
  options: UpOptions,
  out: Output,
  stops: (() => unknown)[],
): Promise<UpResult> {
  prepare(data, options.workers);
  stops.push(lock(data));
  const access = await redisFor(data, out, stops);

  const children = specs(data, options, access).map(
    (spec) => new Child(spec, (name, detail) => out.say(`${name} ${detail}`)),
  );
  stops.push(() => Promise.all(children.map((child) => child.stop())));
  // What the first job needs starts first; the other workers load their models while it runs.
  const [facts] = await Promise.all(children.slice(0, NEEDED_FIRST).map((child) => child.start()));
  const others = Promise.all(children.slice(NEEDED_FIRST).map((child) => child.start()));
  // Whoever waits for them below hears of a failure; until then it is nobody's.
  others.catch(() => undefined);
  const url = String(facts?.['url']);
  writeFileSync(data.address(), `${url}\n`, { mode: 0o644 });
  out.say(`starting   api, ${options.workers} workers, attestor and courier, each a process of its own`);

  const key = await developmentKey(data, access);
  const client = new ApiClient(url, key);
  await whenUp(client);
  const result = await demonstrate(data, client, out);
  if (!options.once) await others;
  out.say(`api        ${url}   (documentation: ${url}/docs)`);
  out.say(`key        ${data.devKey()}`);
  out.say(
    `try        curl -s ${url}/v1/jobs -H "Authorization: Bearer $(cat ${data.devKey()})" -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '${JSON.stringify(DEMO)}'`,
  );
  return result;
}

/** The api, the attestor and one worker, in the order of `specs`. */
const NEEDED_FIRST = 3;

/** One installation is started once; a lock left by a process that is gone does not count. */
function lock(data: DataFolder): () => void {
  const path = data.at('up.pid');
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const file = openSync(path, 'wx', 0o600);
      writeFileSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw error;
      const pid = Number(readFileSync(path, 'utf8'));
      if (isAlive(pid))
        throw new CodedError('start_failed', `Countersign already runs from ${data.path}, as process ${pid}.`, {
          hint: 'stop it, or choose another folder with COUNTERSIGN_DATA',
        });
      rmSync(path, { force: true });
    }
  }
  throw new CodedError('start_failed', `${path} cannot be taken.`);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A Redis with one user for each role: the one given by COUNTERSIGN_REDIS_URL, or a private one. */
async function redisFor(data: DataFolder, out: Output, stops: (() => unknown)[]): Promise<RedisAccess> {
  const given = process.env['COUNTERSIGN_REDIS_URL'];
  if (given === undefined || given === '') {
    const program = await findRedisServer(data.redisProgram(), (line) => out.say(line));
    const admin = { user: ADMIN, password: passwordOf(data, ADMIN) };
    const redis = await startPrivateRedis({ program, folder: data.at('redis'), users: redisUsers(data), admin });
    stops.push(() => redis.stop());
    out.say(`redis      private, ${redis.url} (${program.path})`);
    return { url: redis.url, ...admin };
  }
  const access: RedisAccess = { url: given };
  const redis = openRedis(access, 'prompt', createLogger('up', 'error'));
  try {
    await whenReady(redis, 5_000);
    const pools = readCatalog(data.catalog()).pools();
    for (const role of REDIS_ROLES) {
      await redis.acl(
        'SETUSER',
        role,
        ...aclRules(role, new RedisKeys(SHARD).prefix, pools),
        `>${passwordOf(data, role)}`,
      );
    }
    await requireFitRedis(redis);
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError(
      'redis_unfit',
      `The Redis of COUNTERSIGN_REDIS_URL cannot be used: ${cause instanceof Error ? cause.message : String(cause)}.`,
      {
        cause,
        hint: 'the user of the address must be allowed to make users (ACL SETUSER); countersign acl prints them for an administrator',
      },
    );
  } finally {
    redis.disconnect();
  }
  out.say('redis      the one of COUNTERSIGN_REDIS_URL, with one user for each role');
  return access;
}

/** Settings of the operator that api and courier are told as they are. */
const OF_THE_DESK = [
  'COUNTERSIGN_PRICES',
  'COUNTERSIGN_X402',
  'COUNTERSIGN_WEBHOOK_PRIVATE',
  'COUNTERSIGN_DEFAULT_RECOMPUTE',
] as const;

function specs(data: DataFolder, options: UpOptions, access: RedisAccess): ChildSpec[] {
  const { hash, username, password } = access.url.startsWith('unix')
    ? { hash: '', username: '', password: '' }
    : new URL(access.url);
  const bare = username === '' && password === '' && hash === '' ? access.url : access.url.replace(/\/\/[^@/]*@/, '//');
  const common = (role: string) => ({
    COUNTERSIGN_REDIS_URL: bare,
    COUNTERSIGN_REDIS_PASSWORD_FILE: data.redisPassword(role),
    COUNTERSIGN_SHARD: SHARD,
    COUNTERSIGN_BLOBS: data.blobs(),
    COUNTERSIGN_CATALOG: data.catalog(),
    COUNTERSIGN_LOG_LEVEL: process.env['COUNTERSIGN_LOG_LEVEL'] ?? 'info',
  });
  const service = {
    COUNTERSIGN_TICKET_KEY_FILE: data.roleKey('api'),
    COUNTERSIGN_TLOG: data.log(),
    COUNTERSIGN_KEYRING: data.keyring(),
    COUNTERSIGN_FILES: data.files(),
    ...Object.fromEntries(
      OF_THE_DESK.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    ),
  };
  const port = options.port ?? (options.once ? 0 : DEFAULT_PORT);
  return [
    {
      name: 'api',
      role: 'api',
      env: {
        ...common('api'),
        ...service,
        COUNTERSIGN_PORT: String(port),
      },
      logFile: data.at('logs', 'api.log'),
    },
    {
      name: 'attestor',
      role: 'attestor',
      env: {
        ...common('attestor'),
        COUNTERSIGN_ATTESTOR_KEY_FILE: data.roleKey('attestor'),
        COUNTERSIGN_TLOG_KEY_FILE: data.roleKey('log'),
        COUNTERSIGN_TLOG: data.log(),
        COUNTERSIGN_KEYRING: data.keyring(),
        COUNTERSIGN_ENROLLED_WORKERS: data.enrolled(),
      },
      logFile: data.at('logs', 'attestor.log'),
    },
    ...Array.from({ length: options.workers }, (_, index): ChildSpec => {
      const name = `worker-${index + 1}`;
      return {
        name,
        role: 'worker',
        env: { ...common('worker'), COUNTERSIGN_WORKER_KEY_FILE: data.roleKey(name) },
        logFile: data.at('logs', `${name}.log`),
      };
    }),
    {
      name: 'courier',
      role: 'courier',
      env: { ...common('api'), ...service },
      logFile: data.at('logs', 'courier.log'),
    },
  ];
}

/** A key for the first steps, made once; made again where Redis no longer knows it. */
async function developmentKey(data: DataFolder, access: RedisAccess): Promise<string> {
  const redis = openRedis(access, 'prompt', createLogger('up', 'error'));
  try {
    await whenReady(redis, 5_000);
    const keys = new ApiKeys(redis, new RedisKeys(SHARD));
    if (existsSync(data.devKey())) {
      const text = readSecretFile(data.devKey()).reveal().trim();
      if ((await keys.authenticate(text)) !== undefined) return text;
      rmSync(data.devKey());
    }
    const { text } = await keys.create('cli', {
      tenant: 'dev',
      scopes: ['submit', 'read', 'admin'],
      name: 'first steps',
    });
    writeSecretFile(data.devKey(), `${text}\n`);
    return text;
  } finally {
    redis.disconnect();
  }
}

async function whenUp(client: ApiClient): Promise<void> {
  const until = performance.now() + READY_MS;
  for (;;) {
    const health = (await (await fetch(`${client.url}/health/ready`)).json()) as { ready: boolean; detail: string };
    if (health.ready) return;
    if (performance.now() > until)
      throw new CodedError('start_failed', `Not ready after ${READY_MS / 1_000} s: ${health.detail}.`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Submits one real job, follows it, and verifies its receipt from file and keyring alone. */
async function demonstrate(data: DataFolder, client: ApiClient, out: Output): Promise<UpResult> {
  const started = performance.now();
  const job = await client.submit(DEMO);
  const progress = out.progress(job.id);
  for await (const event of client.events(job.id)) {
    if (event.type === 'state') progress.state(String(event.data['state']), performance.now() - started);
    else progress.text(String(event.data['text']));
  }
  progress.end();
  const final = await client.job(job.id);
  const ms = Math.round(performance.now() - started);
  if (final.state !== 'done')
    throw new CodedError('job_not_done', `The first job ended ${final.state}: ${final.reason?.detail ?? ''}`);

  const [output, receipt] = await Promise.all([
    client.bytes(`/v1/jobs/${job.id}/output`),
    client.bytes(`/v1/jobs/${job.id}/receipt`),
  ]);
  const receiptPath = data.at(`${job.id}.receipt.json`);
  writeFileSync(receiptPath, receipt);
  const verified = verifyReceipt(receipt, readKeyring(data.keyring()), {
    output,
    input: Buffer.from(JSON.stringify(DEMO.input)),
  });
  const answer = JSON.parse(output.toString('utf8')) as { text: string };
  out.say(`asked      ${DEMO.input.prompt}`);
  out.say(`answered   ${answer.text.trim().replace(/\s+/g, ' ')}`);
  out.say(`receipt    ${receiptPath}`);
  for (const check of verified.checks) out.say(`  checked  ${check}`);
  for (const gap of verified.verdict.notChecked) out.say(`  not      ${gap}`);
  return {
    job: job.id,
    state: final.state,
    output: answer,
    receipt: receiptPath,
    verified: true,
    checks: verified.checks,
    api: client.url,
    ms,
  };
}

/** Resolves at the first SIGINT or SIGTERM; later ones are ignored while everything is stopped. */
function interruption(): { promise: Promise<'interrupted'>; release: () => void } {
  let resolve: (value: 'interrupted') => void = () => undefined;
  const promise = new Promise<'interrupted'>((done) => {
    resolve = done;
  });
  const stop = () => resolve('interrupted');
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    promise,
    release: () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}

import { existsSync, statSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { workerIdOf } from '../../ground/keys/signing-key.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { redisUsers, userName } from '../../ground/redis/acl.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { durabilityLevel } from '../../ground/redis/durability.ts';
import { inspectRedis, type Demands } from '../../ground/redis/requirements.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { ADMIN, roleOf, userOf, type DataFolder } from './data-folder.ts';
import { storageFindings } from './doctor-storage.ts';
import type { Finding } from './finding.ts';
import { openPools, readWorkerList } from './set-up.ts';

const NOTHING_HERE: Finding = {
  what: 'installation',
  ok: false,
  found: 'neither this folder nor the environment of a role is there',
  advice:
    'countersign up makes one here; on the machine of a role read its environment first: set -a; . /etc/countersign/ROLE/ROLE.env; set +a',
};

type Environment = Readonly<Record<string, string | undefined>>;

const MAX_CLOCK_SKEW_MS = 2_000;
const DAY_MS = 86_400_000;
const LIST_WARNING_MS = 30 * DAY_MS;

/**
 * Examines one machine: that of a role, by the environment of that role; that of the administrator, by his;
 * or else the installation of `up` in the data folder. Each thing is examined by itself, so that one problem
 * does not hide another. Throws nothing: a failure is a finding.
 */
export async function examine(data: DataFolder, environment: Environment, redisUrl: string): Promise<Finding[]> {
  const role = roleOf(environment);
  const isAdmin = userOf(environment) === ADMIN;
  const whose =
    role !== undefined
      ? `the environment of a role: ${role}`
      : isAdmin
        ? "the administrator's environment"
        : `the data folder ${data.path}`;
  const findings: Finding[] = [{ what: 'looked at', ok: true, found: whose }, nodeVersion()];
  if (role === undefined && !isAdmin && !existsSync(data.path)) return [...findings, NOTHING_HERE];
  if (role !== undefined)
    findings.push(...roleFindings(role, data, environment), ...(await storageFindings(role, data)));
  else if (isAdmin) findings.push(registryKey(data), keyring(data), workerList(data));
  else findings.push(...folderFindings(data));
  const users = role === undefined && !isAdmin ? [...usersOf(data), ADMIN] : [userOf(environment) ?? ADMIN];
  for (const user of users) findings.push(...(await redisFindings(data, redisUrl, user, environment)));
  const isLoading = role === 'worker' || role === 'attestor' || (role === undefined && !isAdmin);
  findings.push(...(await catalogFindings(data, isLoading, modelsOf(role, environment))));
  return findings;
}

/** The keys of a role, whether others would believe them, and the files that only its owner may read. */
function roleFindings(role: NonNullable<ReturnType<typeof roleOf>>, data: DataFolder, env: Environment): Finding[] {
  const trusted = (as: 'api' | 'attestor', variable: string) =>
    attempt(`key of the ${as}`, `make it with countersign keys new, and put its public half into the keyring`, () => {
      const { id } = readSigningKey(env[variable] ?? '').public;
      if (
        !readKeyring(data.keyring())
          .of(as)
          .some((key) => key.id === id)
      )
        throw new Error(`${id.slice(0, 16)}… is not in ${data.keyring()} as ${as}: nobody would believe it`);
      return id.slice(0, 16);
    });
  switch (role) {
    case 'api':
    case 'courier':
      return [
        keyring(data),
        trusted('api', 'COUNTERSIGN_TICKET_KEY_FILE'),
        attempt('keys of secrets', 'make one with countersign keys new; API and courier have the same', () => {
          SecretsKeys.read(data.secretsKeys());
          return `${data.secretsKeys().length}, the first of which seals`;
        }),
      ];
    case 'attestor':
      return [
        keyring(data),
        trusted('attestor', 'COUNTERSIGN_ATTESTOR_KEY_FILE'),
        attempt('key of the log', 'countersign keys show FILE --log ORIGIN prints the line of logPolicy', () => {
          const { id } = readSigningKey(env['COUNTERSIGN_TLOG_KEY_FILE'] ?? '').public;
          const log = readKeyring(data.keyring()).logPolicy.logs.find(({ key }) => key.key.id === id);
          if (log === undefined) throw new Error(`${id.slice(0, 16)}… is in no log line of the keyring's logPolicy`);
          return log.key.name;
        }),
        workerList(data),
      ];
    case 'gateway':
      return [];
    case 'worker':
      return [
        attempt('key of the worker', 'make it with countersign keys new, and enrol it: docs/keys.md', () => {
          const id = workerIdOf(readSigningKey(env['COUNTERSIGN_WORKER_KEY_FILE'] ?? '').public);
          return `${id}; countersign doctor --all says whether it is believed`;
        }),
      ];
  }
}

const keyring = (data: DataFolder): Finding =>
  attempt('keyring', 'countersign init or countersign up makes it', () => {
    const ring = readKeyring(data.keyring());
    return `${ring.of('attestor').length} attestor key(s), ${ring.logPolicy.logs.length} log key(s)`;
  });

const registryKey = (data: DataFolder): Finding =>
  attempt('key of the registry', 'without it no worker can be enrolled; COUNTERSIGN_REGISTRY_KEY_FILE names it', () =>
    readSigningKey(data.registryKey()).public.id.slice(0, 16),
  );

const workerList = (data: DataFolder): Finding =>
  attempt('list of workers', 'countersign workers renew signs it for another year; copy it to the attestors', () => {
    const { serial, expires, workers } = readWorkerList(data);
    if (serial === 0) throw new Error(`${data.enrolled()} does not exist`);
    const leftMs = Date.parse(expires) - Date.now();
    if (leftMs < LIST_WARNING_MS) throw new Error(`list ${serial} ends ${expires}`);
    return `list ${serial}, ${workers.length} worker(s), until ${expires}`;
  });

/** An installation of `up`. */
function folderFindings(data: DataFolder): Finding[] {
  return [
    ...['api', 'attestor', 'log', 'worker-1'].map((role) =>
      attempt(`key of the ${role}`, 'countersign up makes it', () =>
        readSigningKey(data.roleKey(role)).public.id.slice(0, 16),
      ),
    ),
    keyring(data),
    attempt(
      'development key',
      `countersign up makes it; none but its owner may read it: chmod 600 ${data.devKey()}`,
      () => {
        const mode = statSync(data.devKey()).mode & 0o777;
        if ((mode & 0o077) !== 0) throw new Error(`mode ${mode.toString(8)}`);
        return `mode ${mode.toString(8)}`;
      },
    ),
  ];
}

/** The Redis users of the roles and pools; of the roles alone where there is no catalog to read. */
function usersOf(data: DataFolder): string[] {
  try {
    return redisUsers(openPools(data)).map(userName);
  } catch {
    return redisUsers([]).map(userName);
  }
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return {
    what: 'node',
    ok: major > 20 || (major === 20 && minor >= 19),
    found: process.versions.node,
    advice: 'Node.js 20.19 or later is needed',
  };
}

function attempt(what: string, advice: string, look: () => string): Finding {
  try {
    return { what, ok: true, found: look() };
  } catch (error) {
    return { what, ok: false, found: messageOf(error), advice };
  }
}

async function redisFindings(data: DataFolder, url: string, user: string, env: Environment): Promise<Finding[]> {
  const what = `redis as ${user}`;
  let access: RedisAccess;
  try {
    access = { url, shard: data.shard, ...data.login(user), ...data.sentinelLogin() };
  } catch (error) {
    const advice = 'COUNTERSIGN_REDIS_PASSWORD_FILE names the password; countersign up and init make them';
    return [{ what, ok: false, found: messageOf(error), advice }];
  }
  const redis = openRedis(access, 'prompt', createLogger('doctor', 'error'));
  try {
    await whenReady(redis, 2_000);
    const demands = demandsOn(access.user ?? user, env);
    const findings = (await inspectRedis(redis, demands)).map(({ name, ...rest }) => ({
      what: `${what}: ${name}`,
      ...rest,
    }));
    const more = access.user === ADMIN ? await serverFindings(redis, what, usersOf(data)) : [];
    return [...findings, await clock(redis, what), ...more];
  } catch (error) {
    const advice = `is it running, and is this its address: ${url.replace(/\/\/.*@/, '//')}? countersign acl prints its users`;
    return [{ what, ok: false, found: messageOf(error), advice }];
  } finally {
    redis.disconnect();
  }
}

async function clock(redis: Redis, what: string): Promise<Finding> {
  const [seconds, microseconds] = await redis.time();
  const skewMs = Math.round(Math.abs(Date.now() - Number(seconds) * 1_000 - Number(microseconds) / 1_000));
  return {
    what: `${what}: clock`,
    ok: skewMs < MAX_CLOCK_SKEW_MS,
    found: `${skewMs} ms apart`,
    advice: 'set both clocks by NTP: deadlines are compared with the clock of Redis',
  };
}

/** What an administrator may ask of the server: its limits, and whether it knows the users. */
async function serverFindings(redis: Redis, what: string, users: readonly string[]): Promise<Finding[]> {
  const settings = await redis.config('GET', 'maxmemory', 'proto-max-bulk-len', 'hash-max-listpack-value');
  const pairs = Array.isArray(settings) ? settings.map(String) : [];
  const valueOf = (name: string) => Number(pairs[pairs.indexOf(name) + 1] ?? NaN);
  const known = await redis.acl('USERS');
  const missing = users.filter((user) => !known.includes(user));
  return [
    {
      what: `${what}: users`,
      ok: missing.length === 0,
      found: missing.length === 0 ? `${users.length} of ours` : `it lacks ${missing.join(', ')}`,
      advice: 'countersign acl prints them, countersign pools add makes the one of a pool',
    },
    {
      what: `${what}: proto-max-bulk-len`,
      ok: valueOf('proto-max-bulk-len') <= 64 * 1_048_576,
      found: `${valueOf('proto-max-bulk-len')} bytes`,
      advice: 'set proto-max-bulk-len 32mb: no honest command is longer, and one of 512 MB holds up everybody',
    },
    {
      what: `${what}: maxmemory`,
      // Without one, the system ends the server when memory is short; that is said and not judged.
      ok: true,
      found:
        valueOf('maxmemory') > 0
          ? `${valueOf('maxmemory')} bytes`
          : 'none, so that admission never closes before it is full',
    },
  ];
}

/** The administrator alone may read how the server keeps its files. */
function demandsOn(user: string, environment: Environment): Demands {
  const durability = durabilityLevel(environment['COUNTERSIGN_DURABILITY'] ?? 'always');
  return user === ADMIN ? { user, durability } : { user };
}

/** The models whose engines this machine loads; undefined for all of them. */
function modelsOf(
  role: ReturnType<typeof roleOf>,
  env: Environment,
): ((model: { name: string; pool: string }) => boolean) | undefined {
  if (role === 'worker') {
    const only = env['COUNTERSIGN_MODELS']?.split(',').map((name) => name.trim());
    return ({ name, pool }) => pool === (env['COUNTERSIGN_POOL'] ?? 'default') && (only?.includes(name) ?? true);
  }
  const recomputed = env['COUNTERSIGN_RECOMPUTE_MODELS'];
  if (role !== 'attestor' || recomputed === undefined || recomputed === '') return undefined;
  return ({ name }) => recomputed.split(',').some((one) => one.trim() === name);
}

/** The catalog, and with `isLoading` each engine with the weights that this machine has. */
async function catalogFindings(
  data: DataFolder,
  isLoading: boolean,
  isOurs: (model: { name: string; pool: string }) => boolean = () => true,
): Promise<Finding[]> {
  let models;
  try {
    models = readCatalog(data.catalog()).all();
  } catch (error) {
    const advice = 'countersign up makes one with the demonstration models; docs/operations.md describes it';
    return [{ what: 'model catalog', ok: false, found: messageOf(error), advice }];
  }
  const what = 'model catalog';
  const findings: Finding[] = [
    { what, ok: true, found: `${models.length} model(s); it is read at start, so restart the roles after a change` },
  ];
  for (const model of isLoading ? models.filter(isOurs) : []) {
    const engineOf = `engine ${model.engine} with ${model.name}`;
    try {
      const engine = await loadEngine(model);
      await engine.close();
      findings.push({ what: engineOf, ok: true, found: `${engine.identity.version}, self-check passed` });
    } catch (error) {
      findings.push({
        what: engineOf,
        ok: false,
        found: messageOf(error),
        advice: `correct the entry in ${data.catalog()}`,
      });
    }
  }
  return findings;
}

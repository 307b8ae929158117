import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { EmbedEngine } from '../../core/engines/embed-engine.ts';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { ensureSigningKey, readSigningKey, writeSecretFile } from '../../ground/keys/key-file.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { keyringEntry, type KeyringFile } from '../../proof/receipts/keyring.ts';
import { openWorkerList, signWorkerList, workerEntry, type WorkerList } from '../../core/registry/worker-list.ts';
import { redisUsers, userName } from '../../ground/redis/acl.ts';
import { ADMIN, type DataFolder } from './data-folder.ts';
import { usersFile } from './users-file.ts';

/**
 * Makes what is missing of an installation: keys, passwords, keyring, list of workers, catalog. Changes
 * nothing else.
 */
export function prepare(data: DataFolder, workers: number): void {
  for (const folder of [data.path, data.at('keys'), data.blobs(), data.files(), data.log(), data.at('logs')])
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!existsSync(data.catalog()))
    writeFileSync(data.catalog(), `${JSON.stringify(demonstrationCatalog(data), null, 2)}\n`, { mode: 0o644 });
  if (!existsSync(data.roleKey('memory')))
    writeSecretFile(data.roleKey('memory'), `${randomBytes(32).toString('base64url')}\n`);
  const api = ensureSigningKey(data.roleKey('api'));
  const attestor = ensureSigningKey(data.roleKey('attestor'));
  const now = new Date().toISOString();
  const registry = ensureSigningKey(data.roleKey('registry'));
  const keyring: Partial<KeyringFile> = existsSync(data.keyring())
    ? (JSON.parse(readFileSync(data.keyring(), 'utf8')) as Partial<KeyringFile>)
    : {
        version: 1,
        keys: [
          keyringEntry('api', api.public, now),
          keyringEntry('attestor', attestor.public, now),
          keyringEntry('registry', registry.public, now),
        ],
      };
  const logPolicy = keyring.logPolicy ?? logPolicyOf(ensureSigningKey(data.roleKey('log')));
  writeFileSync(data.keyring(), `${JSON.stringify({ ...keyring, logPolicy }, null, 2)}\n`, { mode: 0o644 });
  const own = readCatalog(data.catalog())
    .pools()
    .flatMap((pool) =>
      workerNames(pool, workers).map((name) => ({ key: ensureSigningKey(data.roleKey(name)).public, pool })),
    );
  const list = readWorkerList(data);
  const missing = own.filter(({ key }) => !list.workers.some(({ id }) => id === workerIdOf(key)));
  if (missing.length > 0) {
    const entries = missing.map(({ key, pool }) => workerEntry(key, 'local', now, [pool]));
    writeWorkerList(data, { ...list, workers: [...list.workers, ...entries] });
  }
  for (const user of [...redisUsers(readCatalog(data.catalog()).pools()).map(userName), ADMIN]) {
    if (!existsSync(data.redisPassword(user)))
      writeSecretFile(data.redisPassword(user), `${randomBytes(32).toString('base64url')}\n`);
  }
}

/** The names of the processes that `up` starts for a pool; their keys are named alike. */
export function workerNames(pool: string, count: number): string[] {
  const base = pool === 'default' ? 'worker' : `worker-${pool}`;
  return Array.from({ length: count }, (_, at) => `${base}-${at + 1}`);
}

const LIST_LIFE_MS = 366 * 86_400_000;

/** The list of workers, verified; an empty one if there is none yet. Throws CodedError `key_file_unfit`. */
export function readWorkerList(data: DataFolder): WorkerList {
  const never = new Date(0).toISOString();
  if (!existsSync(data.enrolled())) return { version: 3, serial: 0, issuedAt: never, expires: never, workers: [] };
  return openWorkerList(readFileSync(data.enrolled(), 'utf8'), readKeyring(data.keyring()).of('registry')).list;
}

/** A process that writes a list takes a moment; what is older was left by one that died. */
const ABANDONED_MS = 60_000;

/**
 * Signs a list, made of the one that `readWorkerList` returned, under the next serial and for another year,
 * and returns it. Of two processes that change the same list, one throws CodedError `overloaded`: what the
 * other wrote, perhaps a revocation, is not lost. A crash leaves the old file or the new one.
 */
export function writeWorkerList(
  data: DataFolder,
  list: WorkerList,
  registryKey = readSigningKey(data.registryKey()),
): WorkerList {
  const now = Date.now();
  const next = {
    ...list,
    serial: list.serial + 1,
    issuedAt: new Date(now).toISOString(),
    expires: new Date(now + LIST_LIFE_MS).toISOString(),
  };
  // Whoever makes this file writes this serial, as long as the list is still the one before it.
  const aside = `${data.enrolled()}.${next.serial}`;
  const abandoned = statSync(aside, { throwIfNoEntry: false });
  if (abandoned !== undefined && now - abandoned.mtimeMs > ABANDONED_MS) rmSync(aside, { force: true });
  try {
    writeFileSync(aside, signWorkerList(next, registryKey), { mode: 0o644, flag: 'wx' });
  } catch (cause) {
    if (systemCodeOf(cause) !== 'EEXIST') throw cause;
    throw listChanged(cause);
  }
  if (readWorkerList(data).serial !== list.serial) {
    rmSync(aside, { force: true });
    throw listChanged();
  }
  renameSync(aside, data.enrolled());
  return next;
}

function listChanged(cause?: unknown): CodedError {
  return new CodedError('overloaded', 'The list of workers was changed meanwhile, and is left as it is now.', {
    cause,
    hint: 'give the command again',
  });
}

/**
 * A log policy (C2SP tlog-policy) that trusts a log of our own and requires no witnesses. The log's name has
 * its key's id in it, so that the logs of two installations are never confused.
 */
function logPolicyOf({ public: key }: SigningKey): string {
  return `log ${formatVkey(noteKey(`countersign.local/log/${key.id.slice(0, 16)}`, 'ed25519', key))}\nquorum none\n`;
}

/** The pools of the catalog whose workers are not shut out. */
export function openPools(data: DataFolder): string[] {
  const cut = readCutPools(data);
  return readCatalog(data.catalog())
    .pools()
    .filter((pool) => !cut.has(pool));
}

/** The lines of Redis' ACL file for this installation: its roles, its pools, and the admin of `up`. */
export function aclLines(data: DataFolder): string {
  // A pool that was cut stays so when `up` starts again.
  const cut = [...readCutPools(data)].map((pool) => `user ${userName({ role: 'worker', pool })} off`);
  const passwordOf = (user: string) => data.passwordOf(user);
  return [...cut, ...usersFile({ shard: data.shard, pools: openPools(data), passwordOf })].join('\n');
}

/** The pools whose workers are shut out; `up` reads them too. */
export function readCutPools(data: DataFolder): Set<string> {
  const file = data.at('pools.cut.json');
  return new Set(existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as string[]) : []);
}

export function writeCutPools(data: DataFolder, pools: ReadonlySet<string>): void {
  writeFileSync(data.at('pools.cut.json'), `${JSON.stringify([...pools])}\n`, { mode: 0o600 });
}

/** The folder of the program: sources, models and the build. */
export const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));
const DEMONSTRATION_MODEL = join(PACKAGE, 'models', 'kjv-1m-q8_0.gguf');

/** The demonstration model, and sentence embeddings with weights that npm delivers. */
export function demonstrationCatalog(data: Pick<DataFolder, 'catalog'>) {
  return {
    version: 1,
    models: [
      {
        name: 'kjv-1m',
        pool: 'default',
        tasks: ['completion', 'chat'],
        engine: 'llama',
        file: relative(dirname(data.catalog()), DEMONSTRATION_MODEL),
        sha256: sha256Hex(readFileSync(DEMONSTRATION_MODEL)),
        contextTokens: 256,
        parallel: 4,
        threads: 1,
      },
      { name: 'use-lite', pool: 'default', tasks: ['embedding'], engine: 'embed', sha256: EmbedEngine.weightsDigest() },
    ],
  };
}

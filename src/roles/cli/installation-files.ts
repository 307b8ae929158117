import {
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ensureSigningKey, readSecretFile, replaceSecretFile } from '../../ground/keys/key-file.ts';
import { workerIdOf } from '../../ground/keys/signing-key.ts';
import { redisUsers, userName } from '../../ground/redis/acl.ts';
import { DEFAULT_USER, SERVER_CONFIG } from '../../ground/redis/redis-server.ts';
import { newInvitation, readJoinToken } from '../../core/registry/invitation.ts';
import { workerEntry } from '../../core/registry/worker-list.ts';
import { keyringEntry } from '../../proof/receipts/keyring.ts';
import { formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { parsePolicy } from '../../proof/tlog/tlog-policy.ts';
import { SCOPES, newApiKey, parseApiKey } from '../../surfaces/tenants/api-key.ts';
import type { BootstrapFile } from '../../surfaces/tenants/bootstrap.ts';
import { readDocument } from './arguments.ts';
import { composeFile } from './compose-file.ts';
import { ADMIN, DataFolder } from './data-folder.ts';
import { Invitations } from './invitations.ts';
import {
  InstallationPlan,
  STATE_FOLDER,
  CONFIG_FOLDER,
  continuedPlan,
  invitedFolders,
  letsIn,
  workerFolders,
} from './installation-plan.ts';
import { S3_KEY, environmentFile, roleEnvironments } from './role-environments.ts';
import { PACKAGE, readWorkerList, writeWorkerList } from './set-up.ts';
import { systemdUnits } from './systemd-units.ts';
import { usersFile } from './users-file.ts';

/** The name of the file that says whose folder this is. It is written first. */
const PLAN_FILE = 'installation.json';
/** A bootstrap file that nobody started with is worth nothing after this long. */
const BOOTSTRAP_LIFE_MS = 30 * 86_400_000;
/** A join token lets workers in for a year. */
const INVITATION_LIFE_MS = 366 * 86_400_000;
/** Puts folders in their places on a machine; it knows CONFIG_FOLDER and STATE_FOLDER. */
const PLACE_SCRIPT = fileURLToPath(new URL('./place.sh', import.meta.url));
const SECRET = 0o600;
const PUBLIC = 0o644;

/**
 * Writes an installation of several machines into `folder`, or goes on where an earlier run was interrupted.
 *
 * A secret that is there is never made anew, and everything else is made of the plan and the secrets, so that
 * a run after a crash at any line ends with the same installation. Each file is written aside and renamed: no
 * crash leaves half of one.
 *
 * Returns the plan that the folder now follows. Throws CodedError `request_invalid` where the folder holds
 * something else, or another plan.
 */
export function writeInstallation(folder: string, asked: InstallationPlan, catalog: CatalogText): InstallationPlan {
  const writer = new InstallationWriter(folder, asked);
  writer.write(catalog);
  return writer.plan;
}

/** A catalog file and where it stands; paths in it are relative to that. */
export interface CatalogText {
  readonly json: { readonly version: 1; readonly models: readonly Readonly<Record<string, unknown>>[] };
  readonly folder: string;
}

/** The plan of a folder that was begun before. Throws CodedError `request_invalid` for what is no plan. */
export function keptPlan(folder: string): InstallationPlan | undefined {
  const path = join(folder, PLAN_FILE);
  return existsSync(path) ? readDocument(InstallationPlan, path) : undefined;
}

/** The catalog as an earlier run wrote it into the folder. */
export const keptCatalog = (folder: string): string => join(folder, 'admin', 'models.json');

class InstallationWriter {
  readonly plan: InstallationPlan;
  readonly #folder: string;
  readonly #admin: DataFolder;

  constructor(folder: string, asked: InstallationPlan) {
    this.#folder = resolve(folder);
    this.#admin = new DataFolder(join(this.#folder, 'admin'), {
      COUNTERSIGN_SHARD: asked.shard,
      COUNTERSIGN_ENROLLED_WORKERS: letsIn(asked) ? this.#at('list', 'workers.json') : undefined,
    });
    this.plan = this.#begin(asked);
  }

  write(catalog: CatalogText): void {
    this.#redis();
    this.#models(catalog);
    this.#keys();
    this.#workers();
    this.#invitations();
    this.#firstKey();
    this.#roles();
    this.#state();
    this.#programs();
    this.#chown();
  }

  readonly #at = (...parts: string[]): string => join(this.#folder, ...parts);

  /** Takes the folder: an empty one, or one of ours. */
  #begin(asked: InstallationPlan): InstallationPlan {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const path = this.#at(PLAN_FILE);
    const kept = keptPlan(this.#folder);
    const strangers = readdirSync(this.#folder).filter((name) => name !== `${PLAN_FILE}.new`);
    if (kept === undefined && strangers.length > 0)
      throw new CodedError('request_invalid', `${this.#folder} is not empty, and no installation was begun there.`, {
        hint: 'choose an empty folder; what is in this one was left as it is',
      });
    const plan = kept === undefined ? asked : continuedPlan(kept, asked);
    putFile(path, `${JSON.stringify(plan, null, 2)}\n`, SECRET);
    return plan;
  }

  /** Passwords, Redis' users, and its configuration. */
  #redis(): void {
    const pools = this.plan.pools.map(({ name }) => name);
    for (const user of [...redisUsers(pools).map(userName), ADMIN])
      ensureSecret(this.#admin.redisPassword(user), () => randomBytes(32).toString('base64url'));
    const passwordOf = (user: string) => this.#admin.passwordOf(user);
    const users = usersFile({ shard: this.plan.shard, pools, passwordOf });
    putFile(this.#at('redis', 'users.acl'), `${[DEFAULT_USER, ...users].join('\n')}\n`, SECRET);
    const config = [
      // Every user has a password, and the one without a name may not log in.
      'bind * -::*',
      'protected-mode no',
      `port ${/:(\d+)(?:\/\d+)?$/.exec(this.plan.redisUrl)?.[1] ?? '6379'}`,
      `dir ${STATE_FOLDER}/redis`,
      `aclfile ${CONFIG_FOLDER}/redis/users.acl`,
      ...SERVER_CONFIG,
    ];
    putFile(this.#at('redis', 'redis.conf'), `${config.join('\n')}\n`, SECRET);
  }

  /** The catalog with the paths that its models have on the machines of workers and attestors. */
  #models({ json, folder }: CatalogText): void {
    mkdirSync(this.#at('models'), { recursive: true, mode: 0o755 });
    const models = json.models.map((model) => {
      if (typeof model['file'] !== 'string') return model;
      const source = resolve(folder, model['file']);
      const copy = this.#at('models', basename(source));
      if (existsSync(source) && !existsSync(copy)) copyModel(source, copy);
      return { ...model, file: `${STATE_FOLDER}/models/${basename(source)}` };
    });
    putFile(this.#admin.catalog(), `${JSON.stringify({ ...json, models }, null, 2)}\n`, PUBLIC);
  }

  /** The keys of the installation, and the keyring with the log policy. */
  #keys(): void {
    const now = new Date().toISOString();
    const key = (folder: string, name: string) => ensureSigningKey(this.#at(folder, name));
    const log = key('attestor', 'log.key').public;
    const ticket = key('api', 'ticket.key').public;
    key('api', 'secrets.key');
    for (const name of ['ticket.key', 'secrets.key']) copySecret(this.#at('api', name), this.#at('courier', name));
    const attestor = key('attestor', 'attestor.key').public;
    const registry = ensureSigningKey(this.#admin.registryKey()).public;
    const origin = this.plan.origin ?? `countersign.local/log/${log.id.slice(0, 16)}`;
    const logPolicy = policyOf(formatVkey(noteKey(origin, 'ed25519', log)), this.plan.witnesses);
    if (existsSync(this.#admin.keyring())) return;
    const keys = [
      keyringEntry('api', ticket, now),
      keyringEntry('attestor', attestor, now),
      keyringEntry('registry', registry, now),
    ];
    putFile(this.#admin.keyring(), `${JSON.stringify({ version: 1, keys, logPolicy }, null, 2)}\n`, PUBLIC);
  }

  /** A key for each worker, and the list that says so; those that are on it already keep their entries. */
  #workers(): void {
    // Of an installation that let nobody in before, the list stands with the administrator.
    const earlier = this.#admin.at('workers.json');
    mkdirSync(dirname(this.#admin.enrolled()), { recursive: true, mode: 0o700 });
    if (existsSync(earlier) && !existsSync(this.#admin.enrolled())) renameSync(earlier, this.#admin.enrolled());
    const list = readWorkerList(this.#admin);
    const now = new Date().toISOString();
    const missing = workerFolders(this.plan).flatMap(({ folder, pool }) => {
      const { public: key } = ensureSigningKey(this.#at(folder, 'worker.key'));
      const isThere = list.workers.some(({ id }) => id === workerIdOf(key));
      return isThere ? [] : [workerEntry(key, this.plan.operator, now, [pool.name])];
    });
    if (missing.length > 0 || list.serial === 0)
      writeWorkerList(this.#admin, { ...list, workers: [...list.workers, ...missing] });
  }

  /**
   * A join token for each pool whose workers are started in numbers, and what the process needs that lets
   * them in.
   */
  #invitations(): void {
    if (!letsIn(this.plan)) return;
    const invitations = new Invitations(this.#admin);
    for (const { folder, pool } of invitedFolders(this.plan)) {
      const token = ensureSecret(this.#at(folder, 'join.token'), () => {
        const now = Date.now();
        const made = newInvitation({
          pool: pool.name,
          operator: this.plan.operator,
          uses: pool.invited,
          issuedAt: new Date(now).toISOString(),
          expires: new Date(now + INVITATION_LIFE_MS).toISOString(),
        });
        invitations.keep(made.invitation);
        return made.token;
      });
      const known = invitations.find(readJoinToken(token).invitation);
      if (known !== undefined && known.uses !== pool.invited) invitations.keep({ ...known, uses: pool.invited });
    }
    copySecret(this.#admin.registryKey(), this.#at('registrar', 'registry.key'));
    copySecret(this.#admin.redisPassword('attestor'), this.#at('registrar', 'redis.password'));
    putFile(this.#at('registrar', 'keyring.json'), readFileSync(this.#admin.keyring(), 'utf8'), PUBLIC);
    putFile(this.#at('registrar', 'models.json'), readFileSync(this.#admin.catalog(), 'utf8'), PUBLIC);
  }

  /** The first API key: its text for the operator, its digest for the API. */
  #firstKey(): void {
    const text = ensureSecret(this.#admin.devKey(), () => newApiKey().text);
    const key = parseApiKey(text);
    if (key === undefined) throw new CodedError('key_file_unfit', `${this.#admin.devKey()} holds no API key.`);
    const path = this.#at('api', 'bootstrap.json');
    if (existsSync(path)) return;
    const file: BootstrapFile = {
      version: 1,
      tenant: this.plan.tenant,
      key: { id: key.keyId, hash: key.hash, scopes: [...SCOPES], name: 'the first key' },
      expires: new Date(Date.now() + BOOTSTRAP_LIFE_MS).toISOString(),
    };
    putFile(path, `${JSON.stringify(file, null, 2)}\n`, SECRET);
  }

  /** What each role needs besides its own keys, and no more. */
  #roles(): void {
    for (const { folder, role, variables, pool } of roleEnvironments(this.plan)) {
      const isOfPool = role === 'worker' || role === 'gateway';
      const user = isOfPool ? `worker.${pool?.name ?? ''}` : role === 'courier' ? 'api' : role;
      copySecret(this.#admin.redisPassword(user), this.#at(folder, 'redis.password'));
      putFile(this.#at(folder, 'models.json'), readFileSync(this.#admin.catalog(), 'utf8'), PUBLIC);
      if (!isOfPool) putFile(this.#at(folder, 'keyring.json'), readFileSync(this.#admin.keyring(), 'utf8'), PUBLIC);
      if (role === 'attestor' && !letsIn(this.plan))
        putFile(this.#at(folder, 'workers.json'), readFileSync(this.#admin.enrolled(), 'utf8'), PUBLIC);
      putFile(this.#at(folder, `${role}.env`), environmentFile(variables), SECRET);
      // Whoever runs the server of S3 makes the keys: each is to be written here.
      const key = this.#at(folder, S3_KEY);
      if (this.plan.objects !== undefined && !existsSync(key)) putFile(key, '', SECRET);
    }
    const { redisUrl, url, shard } = this.plan;
    const administrator = {
      COUNTERSIGN_DATA: this.#admin.path,
      COUNTERSIGN_URL: url,
      COUNTERSIGN_REDIS_URL: redisUrl,
      COUNTERSIGN_REDIS_USER: ADMIN,
      COUNTERSIGN_REDIS_PASSWORD_FILE: this.#admin.redisPassword(ADMIN),
      COUNTERSIGN_SHARD: shard,
      ...(letsIn(this.plan) ? { COUNTERSIGN_ENROLLED_WORKERS: this.#admin.enrolled() } : {}),
    };
    putFile(join(this.#admin.path, 'admin.env'), environmentFile(administrator), SECRET);
  }

  /** What containers write; on machines of their own the roles write under STATE_FOLDER. */
  #state(): void {
    const pools = this.plan.pools.map(({ name }) => `blobs/pools/${name}`);
    for (const name of ['redis', 'blobs', 'files', 'log', ...pools])
      mkdirSync(this.#at('data', name), { recursive: true, mode: 0o700 });
  }

  #programs(): void {
    const header = [
      'Made by countersign init; more workers: give it again with more of them.',
      `Start it here: docker compose up --build --detach. Files and processes belong to ${this.plan.owner}.`,
    ];
    const place = { folder: '.', source: PACKAGE.replace(/\/$/, ''), owner: this.plan.owner, header };
    putFile(this.#at('compose.yaml'), composeFile(this.plan, place), PUBLIC);
    for (const [name, unit] of systemdUnits(this.plan)) putFile(this.#at('systemd', name), unit, PUBLIC);
    putFile(this.#at('place.sh'), readFileSync(PLACE_SCRIPT, 'utf8'), PUBLIC);
  }

  /** Whoever writes the folder as root gives it to the user that the roles run as. */
  #chown(): void {
    if (process.getuid?.() !== 0) return;
    const [uid = 0, gid = 0] = this.plan.owner.split(':').map(Number);
    chownSync(this.#folder, uid, gid);
    for (const entry of readdirSync(this.#folder, { recursive: true, encoding: 'utf8' }))
      chownSync(this.#at(entry), uid, gid);
  }
}

/** A log policy (C2SP tlog-policy) that trusts this log, cosigned by more than half of the witnesses. */
function policyOf(vkey: string, witnesses: readonly string[]): string {
  const lines = witnesses.map((witness) => `witness ${witness}`);
  const names = witnesses.map((witness) => witness.split(/\s+/)[0] ?? '');
  const quorum =
    names.length === 0
      ? ['quorum none']
      : [`group witnesses ${Math.floor(names.length / 2) + 1} ${names.join(' ')}`, 'quorum witnesses'];
  const policy = `${[`log ${vkey}`, ...lines, ...quorum].join('\n')}\n`;
  parsePolicy(policy);
  return policy;
}

/** Writes a file aside and puts it in its place; a crash leaves the old one or the new one. */
function putFile(path: string, text: string, mode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}

/** The secret in a file, which is made where there is none. */
function ensureSecret(path: string, make: () => string): string {
  if (!existsSync(path)) replaceSecretFile(path, `${make()}\n`);
  return readSecretFile(path).reveal().trim();
}

function copySecret(from: string, to: string): void {
  replaceSecretFile(to, readSecretFile(from).reveal());
}

/**
 * Weights are large, and a disk that can share blocks does. A second name of the same file would not do: the
 * owner of the folder would become the owner of what was given.
 */
function copyModel(source: string, copy: string): void {
  copyFileSync(source, `${copy}.new`, constants.COPYFILE_FICLONE);
  renameSync(`${copy}.new`, copy);
}

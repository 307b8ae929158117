import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { Storage } from '../../ground/blobs/storage.ts';
import { objectFields } from '../../ground/config/object-fields.ts';
import { redisFields } from '../../ground/config/fields.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { GPU_BUILD_VERSION } from './gpu-packages.ts';

/** The Redis user of those who run the installation. */
export const ADMIN = 'admin';

type Environment = Readonly<Record<string, string | undefined>>;

/** A variable, or file of the folder, that was used in place of the other. */
export interface Taken {
  readonly what: string;
  readonly from: string;
}

/**
 * The files and settings of one installation as a command sees them: each is what the environment of a role
 * names, or else the file of the data folder. The variables are those of the roles, so that a command asked
 * beside a role, under its environment, looks at what that role uses. `up`, which makes the folder, gives no
 * environment.
 */
export class DataFolder {
  readonly path: string;
  readonly #environment: Environment;
  readonly #taken = new Map<string, string>();

  constructor(path: string, environment: Environment = {}) {
    this.path = resolve(path);
    this.#environment = environment;
  }

  readonly at = (...parts: string[]): string => join(this.path, ...parts);
  readonly keyring = (): string => this.#pick('COUNTERSIGN_KEYRING', this.at('keyring.json'));
  readonly catalog = (): string => this.#pick('COUNTERSIGN_CATALOG', this.at('models.json'));
  readonly enrolled = (): string => this.#pick('COUNTERSIGN_ENROLLED_WORKERS', this.at('workers.json'));
  readonly blobs = (): string => this.#pick('COUNTERSIGN_BLOBS', this.at('blobs'));
  readonly files = (): string => this.#pick('COUNTERSIGN_FILES', this.at('files'));
  /** The transparency log's files, as they are served. */
  readonly log = (): string => this.#pick('COUNTERSIGN_TLOG', this.at('log'));
  /** The API key of the commands. */
  readonly devKey = (): string => this.#pick('COUNTERSIGN_CLIENT_KEY_FILE', this.at('dev.key'));
  readonly registryKey = (): string => this.#pick('COUNTERSIGN_REGISTRY_KEY_FILE', this.roleKey('registry'));
  /** The keys of secrets, the one that seals first. */
  readonly secretsKeys = (): string[] =>
    this.#pick('COUNTERSIGN_SECRETS_KEY_FILES', this.roleKey('secrets'))
      .split(',')
      .map((path) => path.trim());
  readonly address = (): string => this.at('api.url');
  readonly roleKey = (name: string): string => this.at('keys', `${name}.key`);
  /** Where `up` and `pools` keep the password of a Redis user. */
  readonly redisPassword = (user: string): string => this.at('keys', `redis-${user}.password`);
  /** The folder with a Redis server that was unpacked for this installation. */
  readonly redisProgram = (): string => this.at('redis-server');

  /** The folder of a build of the engine for GPUs. */
  readonly gpuBuild = (kind: string): string => this.at('gpu', `${kind}-${GPU_BUILD_VERSION}`);

  /** The name of the shard. Throws CodedError `config_invalid` where it is none. */
  get shard(): string {
    const name = this.#pick('COUNTERSIGN_SHARD', 'cs');
    const parsed = redisFields.COUNTERSIGN_SHARD.safeParse(name);
    if (parsed.success) return parsed.data;
    throw new CodedError('config_invalid', `COUNTERSIGN_SHARD is ${name}: ${parsed.error.issues[0]?.message ?? ''}.`);
  }

  /** What opens blobs and files that are in S3, as the roles do. Throws CodedError `config_invalid`. */
  storage(): Storage {
    const settings = Object.keys(objectFields).map((name) => [name, this.#value(name)]);
    const parsed = z.object(objectFields).safeParse(Object.fromEntries(settings));
    if (parsed.success) return new Storage(parsed.data);
    const [issue] = parsed.error.issues;
    throw new CodedError('config_invalid', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`);
  }

  /** The address of Redis: the given one, the environment's, or that of the folder's private server. */
  redisUrl(given: string | undefined): string {
    return given ?? this.#pick('COUNTERSIGN_REDIS_URL', `unix://${this.at('redis', 'redis.sock')}`);
  }

  /**
   * The Redis user to connect as, and its password, for a command that needs the rights of `user`: those of
   * the environment, where it is the environment of that user or of the administrator, who may do whatever
   * the others may; else those of the folder. Throws CodedError `key_file_unfit` where neither is there, and
   * says whose the environment is.
   */
  login(user: string): { readonly user: string; readonly password: string } {
    const own = userOf(this.#environment);
    const file = this.#value('COUNTERSIGN_REDIS_PASSWORD_FILE');
    if (file !== undefined && (own === user || own === ADMIN)) {
      this.#taken.set('COUNTERSIGN_REDIS_PASSWORD_FILE', `of the environment, as ${own}`);
      return { user: own, password: secretOf(file) };
    }
    if (file !== undefined && !existsSync(this.redisPassword(user)))
      throw new CodedError(
        'key_file_unfit',
        `This needs the Redis user ${user}, and the environment is that of ${own ?? 'no role'}.`,
        { hint: `run it under the environment of ${user}, or of the administrator (COUNTERSIGN_REDIS_USER=${ADMIN})` },
      );
    return { user, password: this.passwordOf(user) };
  }

  /** The password of a Redis user by the folder. Throws CodedError `key_file_unfit`. */
  passwordOf(user: string): string {
    this.#taken.set(`password of ${user}`, this.redisPassword(user));
    return secretOf(this.redisPassword(user));
  }

  /** The login at the sentinels. Throws CodedError `key_file_unfit`. */
  sentinelLogin(): { sentinelUser?: string; sentinelPassword?: string } {
    const sentinelUser = this.#value('COUNTERSIGN_SENTINEL_USER');
    const file = this.#value('COUNTERSIGN_SENTINEL_PASSWORD_FILE');
    return {
      ...(sentinelUser === undefined ? {} : { sentinelUser }),
      ...(file === undefined ? {} : { sentinelPassword: secretOf(file) }),
    };
  }

  /** What was used so far, and where it came from, in the order of first use. */
  get taken(): Taken[] {
    return [...this.#taken].map(([what, from]) => ({ what, from }));
  }

  /** The one rule of every file and setting: the environment first, then the folder. */
  #pick(variable: string, ofFolder: string): string {
    const value = this.#value(variable);
    this.#taken.set(variable, value === undefined ? `${ofFolder}, as the variable is not set` : value);
    return value ?? ofFolder;
  }

  /** A variable; an empty one counts as absent, as it does for the roles. */
  #value(variable: string): string | undefined {
    const value = this.#environment[variable];
    return value === '' ? undefined : value;
  }
}

/** The Redis user of a role's environment: the one it names, or the one of the role whose key it holds. */
export function userOf(environment: Environment): string | undefined {
  const named = environment['COUNTERSIGN_REDIS_USER'];
  if (named !== undefined && named !== '') return named;
  const role = roleOf(environment);
  if (role === 'worker' || role === 'gateway') return `worker.${environment['COUNTERSIGN_POOL'] ?? 'default'}`;
  return role === 'courier' ? 'api' : role;
}

/** Variables that the courier has and the API has not. */
const COURIERS_OWN = ['COUNTERSIGN_WEBHOOK_SCHEDULE', 'COUNTERSIGN_METRICS_PORT', 'COUNTERSIGN_METRICS_HOST'];

/**
 * The role whose environment this is, by the key that no other role may hold. API and courier hold the same
 * one: an environment with nothing of the courier's own is the API's.
 */
export function roleOf(environment: Environment): 'api' | 'courier' | 'attestor' | 'worker' | 'gateway' | undefined {
  const has = (name: string) => environment[name] !== undefined && environment[name] !== '';
  if (has('COUNTERSIGN_WORKER_KEY_FILE')) return 'worker';
  if (has('COUNTERSIGN_ATTESTOR_KEY_FILE')) return 'attestor';
  // A gateway holds no key: it is known by the pool whose workers it serves.
  if (!has('COUNTERSIGN_TICKET_KEY_FILE')) return has('COUNTERSIGN_POOL') ? 'gateway' : undefined;
  return COURIERS_OWN.some(has) ? 'courier' : 'api';
}

const secretOf = (file: string): string => readSecretFile(file).reveal().trim();

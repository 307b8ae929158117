import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { eachServer } from '../../ground/redis/servers.ts';
import { ApiClient } from './api-client.ts';
import { apiUrl } from './arguments.ts';
import { jsonOption } from './output.ts';
import { DataFolder } from './data-folder.ts';

const DEFAULT_URL = 'http://127.0.0.1:8181';
const REDIS_READY_MS = 3_000;

/** Options of every command that talks to the API. */
export interface RemoteOptions {
  readonly url?: string;
  readonly keyFile?: string;
  readonly json?: boolean;
}

/** What all commands share: the program, the data folder, the API's client and connections to Redis. */
export class CliContext {
  readonly program: Command;
  #data: DataFolder | undefined;

  constructor(program: Command) {
    this.program = program;
  }

  /**
   * The installation as the environment and the folder of `--data` describe it; known once the command line
   * is parsed, so only inside actions.
   */
  get data(): DataFolder {
    this.#data ??= new DataFolder(this.#folder, process.env);
    return this.#data;
  }

  /** The folder of `--data` alone, for the command that makes it, and how that reaches a Redis elsewhere. */
  get ownFolder(): DataFolder {
    return new DataFolder(this.#folder, {
      COUNTERSIGN_SHARD: process.env['COUNTERSIGN_SHARD'],
      COUNTERSIGN_SENTINEL_USER: process.env['COUNTERSIGN_SENTINEL_USER'],
      COUNTERSIGN_SENTINEL_PASSWORD_FILE: process.env['COUNTERSIGN_SENTINEL_PASSWORD_FILE'],
    });
  }

  get #folder(): string {
    return String(this.program.opts()['data']);
  }

  /** A new command that talks to the API, under `parent` or under the program itself. */
  remote(name: string, description: string, parent: Command = this.program): Command {
    return parent
      .command(name)
      .description(description)
      .option('--url <url>', 'address of the API')
      .option('--key-file <file>', 'file with the API key')
      .addOption(jsonOption());
  }

  /**
   * A client of the API named by the options, then by COUNTERSIGN_URL, then by the data folder that `up` runs
   * from. Throws CodedError `key_file_unfit` if there is no usable API key.
   */
  client(options: RemoteOptions): ApiClient {
    const { data } = this;
    const url =
      options.url ??
      process.env['COUNTERSIGN_URL'] ??
      (existsSync(data.address()) ? readFileSync(data.address(), 'utf8').trim() : DEFAULT_URL);
    const key = readSecretFile(options.keyFile ?? data.devKey())
      .reveal()
      .trim();
    return new ApiClient(apiUrl(url), key);
  }

  /** The access of a Redis user of the installation. */
  access(user: string, givenUrl: string | undefined): RedisAccess {
    const { data } = this;
    return { url: data.redisUrl(givenUrl), shard: data.shard, ...data.login(user), ...data.sentinelLogin() };
  }

  /** Calls `use` with a connection to each server of the installation's Redis, as `eachServer` does. */
  withEachServer(user: string, givenUrl: string | undefined, use: (redis: Redis) => Promise<void>): Promise<void> {
    return eachServer(this.access(user, givenUrl), createLogger('cli', 'error'), use);
  }

  /**
   * Connects as a Redis user of the installation, calls `use`, and closes the connection whatever happens.
   * Returns what `use` returns. Throws CodedError `storage_unavailable` if Redis does not answer within 3 s.
   */
  async withRedis<T>(user: string, givenUrl: string | undefined, use: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = openRedis(this.access(user, givenUrl), 'prompt', createLogger('cli', 'error'));
    try {
      await whenReady(redis, REDIS_READY_MS).catch((cause: unknown) => {
        throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, {
          cause,
          hint: 'start it with countersign up, or name another with COUNTERSIGN_REDIS_URL; --verbose says what was used',
        });
      });
      return await use(redis);
    } finally {
      redis.disconnect();
    }
  }
}

import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { eachServer } from '../../ground/redis/servers.ts';
import { ApiClient } from './api-client.ts';
import { jsonOption } from './output.ts';
import { DataFolder, SHARD, passwordOf, sentinelLogin } from './set-up.ts';

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

  constructor(program: Command) {
    this.program = program;
  }

  /** The data folder of `--data`; known once the command line is parsed, so only inside actions. */
  get data(): DataFolder {
    return new DataFolder(String(this.program.opts()['data']));
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
    return new ApiClient(url, key);
  }

  /**
   * The Redis address of a command: the given one, COUNTERSIGN_REDIS_URL, or the data folder's private
   * server.
   */
  redisUrl(given: string | undefined): string {
    return given ?? process.env['COUNTERSIGN_REDIS_URL'] ?? `unix://${this.data.at('redis', 'redis.sock')}`;
  }

  /** The access of a Redis user of the installation. */
  access(user: string, givenUrl: string | undefined): RedisAccess {
    return {
      url: this.redisUrl(givenUrl),
      user,
      password: passwordOf(this.data, user),
      shard: SHARD,
      ...sentinelLogin(),
    };
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
          hint: 'start it with: countersign up',
        });
      });
      return await use(redis);
    } finally {
      redis.disconnect();
    }
  }
}

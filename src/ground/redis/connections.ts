import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { Logger } from '../logging/logger.ts';
import { watchRedis } from '../metrics/process-metrics.ts';
import { openRedis, whenReady, type Patience, type RedisAccess } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { requireLayout } from './layout.ts';
import { requireFitRedis, type Demands } from './requirements.ts';

const START_MS = 10_000;

/** The connections of one role, opened together and closed together. */
export class RedisConnections {
  readonly #connections: ReadonlyMap<string, Redis>;

  private constructor(connections: ReadonlyMap<string, Redis>) {
    this.#connections = connections;
  }

  /**
   * Opens the connections and finds out whether the server is fit to hold accepted jobs, as durably as was
   * asked, and knows this user. Throws CodedError `storage_unavailable` where it does not answer within ten
   * seconds, or as `requireFitRedis` and `requireLayout` do; then no connection stays open.
   */
  static async open(
    access: RedisAccess,
    keys: RedisKeys,
    demands: Demands,
    wanted: Readonly<Record<string, Patience>>,
    logger: Logger,
  ): Promise<RedisConnections> {
    const connections = new Map(
      Object.entries(wanted).map(([name, patience]) => [name, openRedis(access, patience, logger)] as const),
    );
    const [first] = connections.values();
    try {
      await Promise.all([...connections.values()].map((connection) => whenReady(connection, START_MS)));
      if (first !== undefined) {
        await requireFitRedis(first, demands);
        await requireLayout(first, keys, !access.user?.startsWith('worker'));
      }
    } catch (cause) {
      for (const connection of connections.values()) connection.disconnect();
      if (cause instanceof CodedError) throw cause;
      throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, { cause });
    }
    if (first !== undefined) watchRedis(() => first.status === 'ready');
    return new RedisConnections(connections);
  }

  /** One of the connections that were asked for. */
  named(name: string): Redis {
    const connection = this.#connections.get(name);
    if (connection === undefined) throw new Error(`This role opened no Redis connection named ${name}.`);
    return connection;
  }

  /** Called by Nest once everything that uses the connections has ended. */
  onApplicationShutdown(): void {
    for (const connection of this.#connections.values()) connection.disconnect();
  }
}

import type { Redis } from 'ioredis';
import { parseRedisAddress, serverUrl } from '../../ground/config/redis-address.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { parseInfo } from '../../ground/redis/requirements.ts';
import { isSaving, rewriteHindrance } from '../../ground/redis/rewrite-room.ts';
import { loadScript } from '../../ground/redis/script.ts';

const BEGIN = loadScript(new URL('./lua/begin-rewrite.lua', import.meta.url), integer);

const LOOK_EVERY_MS = 1_000;
const READY_MS = 5_000;
/** What is not over after this time, or after the one in which it is not begun again, is given up. */
const LEAST_ROUND_MS = 60_000;
const WARN_EVERY_MS = 600_000;
/** So often a server is asked how far it is, until it counts as one that is away. */
const MAX_FAILURES = 5;

interface RewritesParts {
  /** A connection to the master. */
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly access: RedisAccess;
  /** For how long it is not begun again; 0 where it never is. */
  readonly everyMs: number;
  readonly logger: Logger;
}

/** One server that is to write its file anew; the run that was told to, once one was. */
interface Told {
  /** The address of a replica; undefined for the master. */
  readonly replica: string | undefined;
  run?: string;
  failures: number;
}

/** All servers in their turn, the master first: each writes its file while the others do not. */
interface Round {
  readonly count: number;
  /** How far the master was with what its replicas follow. */
  readonly offset: number;
  readonly untilMs: number;
  servers: readonly Told[];
}

/**
 * Has Redis write its append-only file anew after erasures, so that what jobs had held goes from its disk
 * too. Erasures count themselves in Redis, in the step that removes what they are about, and the count that a
 * new file is made after is noted when all servers have finished it. A crash before leaves it open, and any
 * attestor begins again, at most once in a while. No request waits for it.
 *
 * A server that is at it already, saves a snapshot, or has no room for it is asked later. A replica that is
 * away is left out: its operator hears of it.
 */
export class AppendOnlyRewrites {
  readonly #parts: RewritesParts;
  readonly #looks: PeriodicTask;
  readonly #warn: (said: string) => void;
  #round: Round | undefined;
  #isForbidden = false;

  constructor(parts: RewritesParts) {
    this.#parts = parts;
    this.#warn = rateLimited(WARN_EVERY_MS, (said) => parts.logger.warn(`append-only file: ${said}`));
    this.#looks = new PeriodicTask(
      () => this.look(),
      (error) => this.#warn(messageOf(error).slice(0, 300)),
      LOOK_EVERY_MS,
    );
  }

  start(): void {
    if (this.#parts.everyMs > 0) this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** One step of what there is to do. Returns when to look again (ms). */
  async look(): Promise<number> {
    const { redis, keys, everyMs } = this.#parts;
    if (this.#isForbidden) return everyMs;
    this.#round ??= await this.#begin();
    const round = this.#round;
    if (round === undefined) return LOOK_EVERY_MS;
    const [server] = round.servers;
    if (server === undefined) {
      await redis.hset(keys.rewrite, 'written', round.count);
      this.#parts.logger.info('Redis has written its append-only file anew after erasures');
      this.#round = undefined;
    } else if (await this.#with(server, (one) => this.#isOver(one, server, round.offset))) {
      round.servers = round.servers.slice(1);
    } else if (performance.now() > round.untilMs) {
      // It is begun anew, by this attestor or another.
      this.#round = undefined;
    }
    return LOOK_EVERY_MS;
  }

  async #begin(): Promise<Round | undefined> {
    const { redis, keys, everyMs } = this.#parts;
    const count = await BEGIN.run(redis, [keys.rewrite], [everyMs]);
    if (count === 0) return undefined;
    const info = parseInfo(await redis.info('replication'));
    const replicas = this.#replicas(info);
    return {
      count,
      offset: Number(info.get('master_repl_offset')),
      untilMs: performance.now() + Math.max(everyMs, LEAST_ROUND_MS),
      servers: [undefined, ...replicas].map((replica) => ({ replica, failures: 0 })),
    };
  }

  /** Whether nothing more is to be waited for at this server. */
  async #isOver(redis: Redis, told: Told, offset: number): Promise<boolean> {
    const info = parseInfo(await redis.info('server', 'memory', 'persistence', 'replication'));
    if (info.get('aof_enabled') !== '1') return true;
    const run = info.get('run_id');
    // One that has started again meanwhile has not finished what it was told.
    if (run !== undefined && told.run === run) {
      if (isSaving(info)) return false;
      if (info.get('aof_last_bgrewrite_status') === 'ok') return true;
      this.#warn(`${nameOf(told)} could not write it anew: look into its log and at its disk`);
      if (told.replica === undefined) this.#round = undefined;
      return true;
    }
    const hindrance = rewriteHindrance(info);
    // A replica may not have heard yet of what was erased.
    const isBehind = Number(info.get('slave_repl_offset')) < offset;
    if (hindrance === undefined && !isBehind) await this.#tell(redis, told, run);
    else if (hindrance !== undefined && hindrance !== 'saving')
      this.#warn(`${nameOf(told)} keeps what was erased in it until there is room to write it anew (${hindrance})`);
    return false;
  }

  async #tell(redis: Redis, told: Told, run: string | undefined): Promise<void> {
    try {
      await redis.call('BGREWRITEAOF');
      if (run !== undefined) told.run = run;
    } catch (error) {
      // It began by itself in between.
      if (/in progress/i.test(messageOf(error))) return;
      if (told.replica !== undefined || !/^(NOPERM|ERR unknown command)/i.test(messageOf(error))) throw error;
      this.#isForbidden = true;
      this.#round = undefined;
      this.#parts.logger.warn(
        'append-only file: this Redis does not allow BGREWRITEAOF: what was erased stays in the file until the server writes it anew by itself; on a server of yours, give the user of the attestor its rules again (countersign acl)',
      );
    }
  }

  /** Those that the master counts among its own. */
  #replicas(info: ReadonlyMap<string, string>): string[] {
    const address = parseRedisAddress(this.#parts.access.url);
    const tls = address.kind !== 'socket' && address.tls;
    return [...info].flatMap(([name, value]) => {
      const [, host, port] = /^ip=([^,]+),port=(\d+)/.exec(value) ?? [];
      return /^slave\d+$/.test(name) && host !== undefined ? [serverUrl({ host, port: Number(port) }, tls)] : [];
    });
  }

  /** What `work` says of this server; true where it is a replica that is away. */
  async #with(told: Told, work: (redis: Redis) => Promise<boolean>): Promise<boolean> {
    const { redis: master, access, logger } = this.#parts;
    if (told.replica === undefined) return work(master);
    const { user, password } = { ...parseRedisAddress(access.url), ...access };
    const redis = openRedis({ url: told.replica, user, password }, 'prompt', logger);
    try {
      await whenReady(redis, READY_MS);
      return await work(redis);
    } catch (error) {
      told.failures += 1;
      if (told.failures < MAX_FAILURES) return false;
      this.#warn(`${nameOf(told)} does not answer (${messageOf(error)}): write it anew there by BGREWRITEAOF`);
      return true;
    } finally {
      redis.disconnect();
    }
  }
}

const nameOf = ({ replica }: Told) => (replica === undefined ? 'the master' : `the replica ${replica}`);

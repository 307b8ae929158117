import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { headText } from '../audit/audit-entry.ts';
import type { AuditFiles } from '../audit/audit-files.ts';
import { SEGMENT, type AuditLog } from '../audit/audit-log.ts';
import type { Sequencer } from './sequencer.ts';

const LOOK_EVERY_MS = 5_000;
/** How long an entry waits at most for a head in the transparency log that covers it. */
export const HEAD_EVERY_MS = 900_000;
/** Segments that stay in Redis, the one that is being written among them. */
export const KEPT_SEGMENTS = 10;

interface AuditKeeperParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly audit: AuditLog;
  readonly files: AuditFiles;
  readonly sequencer: Pick<Sequencer, 'logDocument'>;
  /** Id of the key that vouches for heads. */
  readonly keyId: string;
  readonly logger: Logger;
  readonly keptSegments?: number;
}

/**
 * Puts the head of the audit log into the transparency log, at the start and at intervals, and moves old
 * segments from Redis to files, so that they have a bound there and nothing is lost. Any number of attestors
 * may do this at once: all of it is the same when it is done twice.
 */
export class AuditKeeper {
  readonly #parts: AuditKeeperParts;
  readonly #looks: PeriodicTask;
  readonly #noted = new Set<string>();
  #logged = { entries: 0, atMs: -Infinity };

  constructor(parts: AuditKeeperParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error) => parts.logger.warn(`audit log: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.look(), warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Logs the head where it is due, and moves what is to be moved. Returns when to look again (ms). */
  async look(): Promise<number> {
    const { entries, text } = await this.#parts.audit.head();
    const isDue = performance.now() - this.#logged.atMs >= HEAD_EVERY_MS;
    if (text !== undefined && entries !== this.#logged.entries && isDue) {
      await this.#log(entries, text);
      this.#logged = { entries, atMs: performance.now() };
    }
    await this.#noteDocuments();
    await this.#archive(Math.floor(entries / SEGMENT));
    return LOOK_EVERY_MS;
  }

  /** What people put in force by the transparency log, lists of workers above all, each noted once. */
  async #noteDocuments(): Promise<void> {
    const { redis, keys, audit } = this.#parts;
    for (const name of await redis.hkeys(keys.logDocuments)) {
      const [kind = '', sha256 = ''] = name.split(' ');
      if (kind === 'audit' || kind === 'draw' || this.#noted.has(name)) continue;
      const act = { by: 'attestor', action: `${kind}.inForce`, target: sha256, tenant: null, detail: {} };
      const mark = keys.noted(`${kind}-${sha256}`);
      await audit.with(act, [['SET', mark, sha256]], mark);
      this.#noted.add(name);
    }
  }

  async #log(entries: number, text: string): Promise<void> {
    const { sequencer, keyId } = this.#parts;
    await sequencer.logDocument('audit', keyId, Buffer.from(headText(entries, text)));
  }

  /**
   * A crash after any step leaves the segment in Redis, in the file, or in both with the same content. A
   * Redis that lost everything goes on after the last segment that is a file.
   */
  async #archive(current: number): Promise<void> {
    const { redis, keys, audit, files, keptSegments = KEPT_SEGMENTS } = this.#parts;
    const onDisk = await files.count();
    let base = Number(((await redis.get(keys.auditBase)) ?? '0').split(' ')[0]);
    if (onDisk > base) {
      await this.#moveBase(onDisk, (await files.read(onDisk - 1))?.at(-1) ?? '');
      base = onDisk;
    }
    for (; base + keptSegments <= current; base += 1) {
      const texts = await audit.read(files, base * SEGMENT, (base + 1) * SEGMENT);
      const last = texts.at(-1) ?? '';
      await this.#log((base + 1) * SEGMENT, last);
      await files.write(base, texts);
      await this.#moveBase(base + 1, last);
      await redis.unlink(keys.audit(base));
    }
  }

  async #moveBase(segment: number, last: string): Promise<void> {
    const { redis, keys } = this.#parts;
    await redis.set(keys.auditBase, `${segment} ${Buffer.from(last, 'utf8').toString('base64')}`);
  }
}

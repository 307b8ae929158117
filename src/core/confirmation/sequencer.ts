import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import { logEntry, SALT_BYTES, type LogEntryKind } from '../../proof/tlog/log-entry.ts';
import type { LogFiles } from '../../proof/tlog/log-files.ts';
import { LogTree } from '../../proof/tlog/log-tree.ts';
import { EMPTY_ROOT } from '../../proof/tlog/merkle.ts';
import { noteKey, signNote, type NoteKey } from '../../proof/tlog/signed-note.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import type { WitnessClient } from '../../proof/tlog/witness-client.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { integer, listOf, optional } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const SEQUENCE = loadScript(new URL('./lua/sequence.lua', import.meta.url), listOf(optional(integer)));
const SEQUENCE_DOCUMENT = loadScript(new URL('./lua/sequence-document.lua', import.meta.url), integer);
const PUBLISH = loadScript(new URL('./lua/publish.lua', import.meta.url), integer);

/** Most entries of one checkpoint. */
const BATCH = 2_000;
/** What another attestor sequenced and did not live to publish is looked for this often. */
const IDLE_MS = 500;
const RETRY_MS = 200;
/** From so many entries in a checkpoint on, a pause of twice what it took lets more gather for the next. */
const BUSY = 16;
const REST = 2;
const MAX_REST_MS = 30;
/**
 * The copy of the checkpoint and of what it has beyond whole tiles is for offline audits, and to notice a
 * Redis that lost data.
 */
const COPY_EVERY_MS = 1_000;

export interface VerdictToLog {
  readonly id: string;
  readonly epoch: number;
  readonly field: string;
  readonly verdict: SignedPayload;
}

interface Waiter {
  readonly index: number;
  readonly resolve: (size: number) => void;
}

interface SequencerParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly files: LogFiles;
  /** Signs checkpoints and nothing else. */
  readonly key: SigningKey;
  readonly origin: string;
  readonly witnesses: WitnessClient;
  /** How long finished jobs are kept. */
  readonly keepMs: number;
  readonly logger: Logger;
}

/**
 * Puts verdicts into the log and waits until they stand in a checkpoint. Entries that come while tiles are
 * being written share the next checkpoint, so that a batch is as large as the load makes it and a single one
 * waits for nobody.
 *
 * Redis decides the order; every attestor turns it into the same tiles, and the checkpoint that is published
 * only grows. What a crash leaves: after `sequence`, entries that any attestor publishes; after the tiles,
 * files that are written again with the same bytes; after `publish`, an entry that the case meets again when
 * it is judged again.
 */
export class Sequencer {
  readonly #parts: SequencerParts;
  readonly #log: NoteKey;
  readonly #warn: (error: unknown) => void;
  #tree: LogTree | undefined;
  #waiters: Waiter[] = [];
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  #isWoken = false;
  #copiedAt = -Infinity;
  #uncopied: string | undefined;

  constructor(parts: SequencerParts) {
    this.#parts = parts;
    this.#log = noteKey(parts.origin, 'ed25519', parts.key.public);
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `log: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /**
   * Throws CodedError `log_diverged` where the files hold more than Redis knows of: publishing would then
   * fork the log.
   */
  async start(): Promise<void> {
    const onDisk = await this.#parts.files.readCheckpoint();
    const { size } = await this.#read();
    const sizeOnDisk = onDisk === undefined ? 0 : openCheckpoint(onDisk, this.#log).checkpoint.size;
    if (sizeOnDisk > size)
      throw new CodedError(
        'log_diverged',
        `The log's files hold ${sizeOnDisk} entries and Redis knows of ${size}: Redis has lost data.`,
        { hint: 'restore Redis from its append-only file, or begin a new log with another origin and another folder' },
      );
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#loop;
    if (this.#uncopied !== undefined) await this.#copy();
  }

  /**
   * Resolves to sizes of published checkpoints in which they stand; undefined where the epoch no longer waits
   * for a verdict.
   */
  async log(verdicts: readonly VerdictToLog[]): Promise<(number | undefined)[]> {
    if (verdicts.length === 0) return [];
    const { redis, keys } = this.#parts;
    const args = verdicts.flatMap(({ id, epoch, field, verdict }) => {
      const salt = freshRandom(SALT_BYTES);
      const entry = logEntry('verdict', verdict.keyId, verdict.payload, salt);
      return [id, epoch, field, encodeStored(verdict), salt.toString('base64'), entry.toString()];
    });
    const places = await SEQUENCE.run(redis, [keys.log, keys.logTail], [keys.prefix, ...args]);
    crashPoint('attestor.after-sequence');
    return Promise.all(
      verdicts.map(async (_, at) => {
        const index = places[at];
        return index === undefined ? undefined : this.sizeBeyond(index);
      }),
    );
  }

  /** Resolves to the size of a published checkpoint that holds the entry with this index. */
  sizeBeyond(index: number): Promise<number> {
    const size = new Promise<number>((resolve) => this.#waiters.push({ index, resolve }));
    this.#isWoken = true;
    this.#wake();
    return size;
  }

  /**
   * Gives a document that verdicts rest on its place in the log, once; resolves to that place, which the next
   * checkpoint publishes.
   */
  async logDocument(kind: Exclude<LogEntryKind, 'verdict'>, keyId: string, payload: Buffer): Promise<number> {
    const { redis, keys } = this.#parts;
    const salt = freshRandom(SALT_BYTES);
    const entry = logEntry(kind, keyId, payload, salt);
    const index = await SEQUENCE_DOCUMENT.run(
      redis,
      [keys.log, keys.logTail, keys.logDocuments],
      [`${kind} ${sha256Hex(payload)}`, entry, salt.toString('base64'), keyId],
    );
    this.#isWoken = true;
    this.#wake();
    return index;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        this.#isWoken = false;
        const started = performance.now();
        const published = await this.#turn();
        if (published === 0) await this.#pause(IDLE_MS);
        else if (published >= BUSY) await sleep(Math.min(MAX_REST_MS, REST * (performance.now() - started)));
      } catch (error) {
        // What is in memory may be ahead of what is published: begin again from there.
        this.#tree = undefined;
        this.#warn(error);
        await this.#pause(RETRY_MS);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#isWoken || this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Publishes what waits; how many entries that were. */
  async #turn(): Promise<number> {
    const { files, key, origin, redis, keys, keepMs } = this.#parts;
    const { size, checkpoint, tail } = await this.#read();
    if (this.#tree?.size !== size) {
      const root = checkpoint === '' ? EMPTY_ROOT : openCheckpoint(checkpoint, this.#log).checkpoint.root;
      this.#tree = await LogTree.load(files, size, root, tail);
    }
    const tree = this.#tree;
    const entries = tail.slice(size % TILE_WIDTH);
    if (entries.length === 0) {
      this.#settle(tree);
      if (this.#uncopied !== undefined) await this.#copy();
      return 0;
    }
    await tree.append(entries);
    crashPoint('attestor.after-tiles');
    const text = formatCheckpoint({ origin, size: tree.size, root: tree.root() });
    const note = await this.#parts.witnesses.cosign({ text, signatures: [signNote(text, origin, key)] }, tree);
    const published = await PUBLISH.run(
      redis,
      [keys.log, keys.logTail, keys.logAt(tree.size)],
      [tree.size, note, keepMs],
    );
    if (published !== tree.size) {
      this.#tree = undefined;
      return entries.length;
    }
    crashPoint('attestor.after-publish');
    this.#settle(tree);
    this.#uncopied = note;
    if (performance.now() - this.#copiedAt > COPY_EVERY_MS) await this.#copy();
    return entries.length;
  }

  #settle(tree: LogTree): void {
    const ready = this.#waiters.filter(({ index }) => index < tree.size);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter(({ index }) => index >= tree.size);
    for (const { resolve } of ready) resolve(tree.size);
  }

  /** Keeps the checkpoint beside the tiles, with the partial ones that it needs. */
  async #copy(): Promise<void> {
    const { files } = this.#parts;
    const [note, tree, onDisk] = [this.#uncopied, this.#tree, await files.readCheckpoint()];
    this.#uncopied = undefined;
    this.#copiedAt = performance.now();
    // Another attestor may have published, and copied, more.
    if (note === undefined || tree?.size !== parseCheckpoint(note).size) return;
    if (onDisk !== undefined && parseCheckpoint(onDisk).size >= tree.size) return;
    await files.writeTiles(tree.partialTiles());
    await files.writeCheckpoint(note);
  }

  async #read(): Promise<{ size: number; checkpoint: string; tail: Buffer[] }> {
    const { redis, keys } = this.#parts;
    const reply = await redis
      .multi()
      .hmget(keys.log, 'size', 'checkpoint')
      .lrange(keys.logTail, 0, BATCH - 1)
      .exec();
    const [head, tail] = (reply ?? []).map(([error, value]) => {
      if (error) throw error;
      return value;
    });
    const [size, checkpoint]: unknown[] = Array.isArray(head) ? (head as unknown[]) : [];
    return {
      size: Number(size ?? 0),
      checkpoint: typeof checkpoint === 'string' ? checkpoint : '',
      tail: Array.isArray(tail) ? tail.map((entry) => Buffer.from(String(entry))) : [],
    };
  }
}

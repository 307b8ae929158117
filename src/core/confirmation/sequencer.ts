import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { gauge } from '../../ground/metrics/process-metrics.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Durability } from '../../ground/redis/durability.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import { logEntry, SALT_BYTES, type LogEntryKind } from '../../proof/tlog/log-entry.ts';
import { LANES, LEAVE } from '../backlog/lua-parts.ts';
import type { JobArchive } from '../jobs/job-archive.ts';
import { recordBody } from '../jobs/job-record.ts';
import { RESERVE } from '../jobs/reserve.ts';
import type { LogFiles } from '../../proof/tlog/log-files.ts';
import { LogTree } from '../../proof/tlog/log-tree.ts';
import { EMPTY_ROOT } from '../../proof/tlog/merkle.ts';
import { LogRefused, formatNote, signNote, type NoteKey } from '../../proof/tlog/signed-note.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import type { WitnessClient } from '../../proof/tlog/witness-client.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { integer, listOf, optional } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { recordOf, type Confirmation } from './confirmation.ts';
import { LogSpans } from './case-spans.ts';
import { settlementOf } from './settlement.ts';
import { readHead, readUnpublished, type LogHead } from './log-head.ts';

const SEQUENCE = loadScript(new URL('./lua/sequence.lua', import.meta.url), listOf(optional(integer)), {
  included: [LANES, LEAVE, RESERVE],
});
const SEQUENCE_DOCUMENT = loadScript(new URL('./lua/sequence-document.lua', import.meta.url), integer);
const PUBLISH = loadScript(new URL('./lua/publish.lua', import.meta.url), integer);

/** Most entries of one checkpoint, where no larger one was signed before. */
const BATCH = 2_000;
/** So many places may wait for a checkpoint; beyond, no more are given. */
const MAX_UNPUBLISHED = 10_000;
/** What another attestor sequenced and did not live to publish is looked for this often. */
const IDLE_MS = 500;
/** While there is nothing to publish, a bucket is looked at this often: requests are paid for. */
const BUCKET_LOOK_MS = 10_000;
const RETRY_MS = 200;
/** Longer than a checkpoint takes whose witnesses answer and whose disk writes. */
const STALLED_MS = 10_000;
/** From so many entries in a checkpoint on, a pause of twice what it took lets more gather for the next. */
const BUSY = 16;
const REST = 2;
const MAX_REST_MS = 30;
/**
 * The copy of the checkpoint and of what it has beyond whole tiles is for offline audits, and to notice a
 * Redis that lost data.
 */
const COPY_EVERY_MS = 1_000;

/** A checkpoint by its size and its root. */
interface Known {
  readonly size: number;
  readonly root: Uint8Array;
}

interface SequencerParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly files: LogFiles;
  readonly archive: JobArchive;
  /** Signs checkpoints and nothing else. */
  readonly key: SigningKey;
  readonly origin: string;
  /** The keys that may have signed what the log has; more than one where its key was rotated. */
  readonly trusted: readonly NoteKey[];
  readonly witnesses: WitnessClient;
  readonly durability: Durability;
  /** Gives Redis back what it has lost of the log; by default, a person does. */
  readonly recover?: (() => Promise<unknown>) | undefined;
  /** Where entries have waited for longer than this, nothing is published; by default, 10 s. */
  readonly stalledMs?: number;
  readonly logger: Logger;
}

/**
 * Gives confirmations their places in the log, and publishes checkpoints. A confirmation is decided by its
 * place, and its job is done when a published checkpoint covers it: nobody waits for that here. Entries that
 * come while tiles are being written share the next checkpoint, so that a batch is as large as the load makes
 * it and a single one waits for nobody.
 *
 * Redis decides the order; every attestor turns it into the same tiles and the same archive, and the
 * checkpoint that is published only grows. What a crash leaves: after `sequence`, entries that any attestor
 * publishes; after the tiles or the archive, files that are written again with the same bytes; after
 * `publish`, jobs that any attestor seals.
 */
export class Sequencer {
  readonly #parts: SequencerParts;
  readonly #warn: (error: unknown) => void;
  readonly #published = new Set<() => void>();
  readonly #spans = new LogSpans();
  #tree: LogTree | undefined;
  #unpublished = 0;
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  #isWoken = false;
  #copiedAt = -Infinity;
  #uncopied: string | undefined;
  /** When this attestor last published, ms of this process' clock. */
  #publishedMs: number | undefined;
  /** The largest checkpoint that this attestor has signed or seen published. */
  #onDisk: readonly Known[] = [];
  /** Until then (by `performance.now`) an idle turn does not look at the disk again. */
  #rememberedUntil = 0;
  #largest: Known | undefined;
  #problem: 'log_diverged' | undefined;
  /** Since when entries wait to be published, and nothing was; ms of this process' clock. */
  #waitsSince: number | undefined;

  constructor(parts: SequencerParts) {
    gauge('countersign_checkpoint_age_seconds', () =>
      this.#publishedMs === undefined ? undefined : (performance.now() - this.#publishedMs) / 1_000,
    );
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `log: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /** Begins to publish. Where Redis has lost what the disk knows, it says so and publishes nothing. */
  start(): void {
    this.#loop = this.#run();
  }

  /** Why nothing is confirmed now; undefined while all is well. */
  get problem(): 'log_diverged' | 'log_unpublished' | undefined {
    if (this.#problem !== undefined) return this.#problem;
    const waitedMs = this.#waitsSince === undefined ? 0 : performance.now() - this.#waitsSince;
    return waitedMs > (this.#parts.stalledMs ?? STALLED_MS) ? 'log_unpublished' : undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#loop;
    if (this.#uncopied !== undefined) await this.#copy();
  }

  /** Calls back whenever a checkpoint was published. */
  onPublished(listener: () => void): void {
    this.#published.add(listener);
  }

  /** Whether the log takes entries: not where Redis has lost some, nor while too many wait. */
  hasRoom(): boolean {
    return this.#problem === undefined && this.#unpublished < MAX_UNPUBLISHED;
  }

  /**
   * Those of these jobs whose confirmation Redis has lost, and the disk has. It looks at the disk itself: a
   * deadline that has passed meanwhile is found as soon as Redis is back, before anything is published.
   */
  async lost(ids: readonly string[]): Promise<ReadonlySet<string>> {
    if (this.#problem === undefined && !(await this.#isBehind())) return new Set();
    const found = await Promise.all(ids.map((id) => this.#parts.archive.find(id)));
    return new Set(ids.filter((_, at) => found[at] !== undefined));
  }

  async #isBehind(): Promise<boolean> {
    const known = await this.#known(performance.now() < this.#rememberedUntil);
    return known !== undefined && (await readHead(this.#parts.redis, this.#parts.keys, 0)).total < known.size;
  }

  /**
   * Gives confirmations their places, and keeps the records of their jobs. Returns per confirmation its index
   * in the log; undefined where the epoch no longer waits for a verdict.
   */
  async place(confirmations: readonly Confirmation[]): Promise<(number | undefined)[]> {
    const { redis, keys } = this.#parts;
    const args = confirmations.flatMap((confirmation) => {
      const { file, verdict } = confirmation;
      const salt = freshRandom(SALT_BYTES);
      const entry = logEntry('verdict', verdict.keyId, verdict.payload, salt);
      return [
        file.id,
        file.epoch,
        file.tenant,
        file.queue,
        file.band,
        file.model,
        entry,
        recordBody(recordOf(confirmation, salt)),
        ...settlementOf(confirmation),
      ];
    });
    const places = await SEQUENCE.run(redis, [keys.log, keys.logTail, keys.unsealed], [keys.prefix, ...args]);
    this.#spans.placed(confirmations, places);
    // Also while a turn waits for its witnesses.
    this.#unpublished += places.length;
    this.#isWoken = true;
    this.#wake();
    return places;
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
        this.#waitsSince ??= performance.now();
        // What is in memory may be ahead of what is published: begin again from there.
        this.#tree = undefined;
        this.#warn(error);
        if (this.#problem !== undefined) await this.#parts.recover?.().catch(this.#warn);
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

  /** Publishes what waits; how many entries that were. Throws CodedError `log_diverged`. */
  async #turn(mayRemember = true): Promise<number> {
    const { redis, keys, archive, witnesses } = this.#parts;
    const isRemembered = mayRemember && performance.now() < this.#rememberedUntil;
    const known = await this.#known(isRemembered);
    const head = await readHead(redis, keys, BATCH, known?.size);
    // Also what another attestor has published.
    this.#spans.published(head.size);
    const tree = await this.#continuation(head, known);
    const entries = head.tail.slice(head.size % TILE_WIDTH);
    this.#unpublished = head.total - head.size;
    if (entries.length > 0 && isRemembered) return this.#turn(false);
    if (entries.length === 0) {
      this.#problem = undefined;
      this.#waitsSince = undefined;
      if (this.#uncopied !== undefined) await this.#copy();
      return 0;
    }
    this.#waitsSince ??= performance.now();
    // Up to what was signed before, nothing is written that was not: only then comes what is new.
    const before = Math.max(0, Math.min(entries.length, (known?.size ?? 0) - tree.size));
    await tree.append(entries.slice(0, before));
    if (known !== undefined && known.size <= tree.size) await this.#requireSame(tree, known);
    await tree.append(entries.slice(before));
    this.#problem = undefined;
    crashPoint('attestor.after-tiles');
    const { text, signed } = this.#sign(tree);
    await archive.write(signed.text, await readUnpublished(redis, keys, head));
    crashPoint('attestor.after-archive');
    this.#largest = { size: tree.size, root: tree.root() };
    const note = await witnesses.cosign({ text, signatures: [signed.signature] }, tree);
    // What it tells must be as durable as what was promised; the places were given on this connection.
    await this.#parts.durability.settled(redis);
    const published = await PUBLISH.run(redis, [keys.log, keys.logTail], [tree.size, note]);
    if (published !== tree.size) {
      this.#tree = undefined;
      return entries.length;
    }
    crashPoint('attestor.after-publish');
    this.#waitsSince = undefined;
    this.#publishedMs = performance.now();
    this.#spans.published(published);
    for (const listener of this.#published) listener();
    this.#uncopied = note;
    if (performance.now() - this.#copiedAt > COPY_EVERY_MS) await this.#copy();
    return entries.length;
  }

  #sign(tree: LogTree) {
    const { key, origin } = this.#parts;
    const text = formatCheckpoint({ origin, size: tree.size, root: tree.root() });
    const signature = signNote(text, origin, key);
    return { text, signed: { signature, text: formatNote({ text, signatures: [signature] }) } };
  }

  /** The largest checkpoint that this attestor or the disk has seen; the disk, as it was looked at last. */
  async #known(isRemembered: boolean): Promise<Known | undefined> {
    if (!isRemembered) this.#onDisk = await this.#readDisk();
    return [this.#largest, ...this.#onDisk].reduce<Known | undefined>(
      (largest, one) => (one !== undefined && one.size > (largest?.size ?? 0) ? one : largest),
      undefined,
    );
  }

  async #readDisk(): Promise<Known[]> {
    const { files, archive, trusted } = this.#parts;
    if (files.isRemote) this.#rememberedUntil = performance.now() + BUCKET_LOOK_MS;
    const notes = await Promise.all([files.readCheckpoint(), archive.newestCheckpoint()]);
    return notes.flatMap((note) => (note === undefined ? [] : [openCheckpoint(note, ...trusted).checkpoint]));
  }

  /**
   * The tree that Redis has published, if what is known can be a beginning or a continuation of it. Throws
   * CodedError `log_diverged` where Redis has lost entries that were signed, or holds others in their place.
   */
  async #continuation({ size, checkpoint, tail, total }: LogHead, known: Known | undefined): Promise<LogTree> {
    if (known !== undefined && total < known.size) throw this.#diverged(`Redis holds ${total}`, known);
    try {
      if (this.#tree?.size !== size) {
        const root =
          checkpoint === '' ? EMPTY_ROOT : openCheckpoint(checkpoint, ...this.#parts.trusted).checkpoint.root;
        this.#tree = await LogTree.load(this.#parts.files, size, root, tail);
      }
      if (known !== undefined && known.size <= size) await requireSame(this.#tree, known);
      return this.#tree;
    } catch (error) {
      if (error instanceof LogRefused && known !== undefined) throw this.#diverged(error.message, known);
      throw error;
    }
  }

  async #requireSame(tree: LogTree, known: Known): Promise<void> {
    try {
      await requireSame(tree, known);
    } catch (error) {
      throw this.#diverged(messageOf(error), known);
    }
  }

  #diverged(found: string, known: Known): CodedError {
    this.#problem = 'log_diverged';
    return new CodedError(
      'log_diverged',
      `A checkpoint of ${known.size} entries was signed, and Redis does not lead to it (${found}): it has lost data, and nothing is confirmed.`,
      { hint: 'run `countersign log recover`, which gives Redis back what the disk has' },
    );
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
}

/** Throws LogRefused where the tree does not begin with what was signed before. */
async function requireSame(tree: LogTree, known: Known): Promise<void> {
  if (!(await tree.rootAt(known.size)).equals(known.root))
    throw new LogRefused(`Its first ${known.size} entries are not those that were signed.`);
}

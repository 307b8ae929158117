import { Worker as Thread } from 'node:worker_threads';
import type { Queries } from '../../ground/database/database.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { FoundMemory, OwnerRow, SearchAsk } from './opened-owner.ts';
import { segmentsFrom } from './sealed-segments.ts';
import type { SearchAnswers, SearchCommand } from './search-thread.ts';

/** What takes longer hangs: a search of 100,000 memories takes a second or two. */
const ANSWER_MS = 90_000;

/** What the thread has of an owner. */
interface Given {
  readonly keyVersion: number;
  /** The number of the next segment that it lacks. */
  next: number;
  bytes: number;
  usedMs: number;
}

interface ThreadParts {
  readonly database: Queries;
  /** How much of this process's memory the owners in the thread may take; one that is in use stays. */
  readonly openBytes: number;
  /** Whether somebody works on an owner now. */
  readonly isUsed: (owner: string) => boolean;
  readonly file: URL | undefined;
}

/**
 * The thread in which large owners are searched. It starts with the first of them and ends with the last. The
 * segments of an owner are a log that only grows until it is sealed under a new key: what the thread lacks is
 * what stands in the database behind what it was given. Calls for one owner come one after the other.
 */
export class SearchThread {
  readonly #database: Queries;
  readonly #openBytes: number;
  readonly #isUsed: (owner: string) => boolean;
  readonly #file: URL;
  readonly #given = new Map<string, Given>();
  #thread: Thread | undefined;
  /** Who waits for an answer, in the order in which they asked. */
  #waiting: { readonly answer: (value: unknown) => void; readonly fail: (error: Error) => void }[] = [];

  constructor({ database, openBytes, isUsed, file }: ThreadParts) {
    this.#database = database;
    this.#openBytes = openBytes;
    this.#isUsed = isUsed;
    this.#file = file ?? ownFile();
  }

  /**
   * Gives the thread what it lacks of an owner. False where that cannot be opened. Throws CodedError
   * `memory_unavailable`.
   */
  async catchUp(row: OwnerRow, key: Uint8Array): Promise<boolean> {
    if (this.#given.get(row.id)?.keyVersion !== row.keyVersion) this.drop(row.id);
    const given = this.#given.get(row.id) ?? { keyVersion: row.keyVersion, next: 0, bytes: 0, usedMs: 0 };
    given.usedMs = Date.now();
    this.#given.set(row.id, given);
    for await (const segment of segmentsFrom(this.#database, row.id, given.next)) {
      // Copies, which move to the thread: nothing else of the buffers that they stand in goes along.
      const sent = { key: new Uint8Array(key), body: new Uint8Array(segment.body) };
      const command = { kind: 'take', row, key: sent.key, segment: { ...segment, body: sent.body } } as const;
      const bytes = await this.#ask<'take'>(command, [sent.key.buffer, sent.body.buffer]);
      if (bytes === undefined) {
        this.drop(row.id);
        return false;
      }
      [given.next, given.bytes] = [segment.seq + 1, bytes];
    }
    this.#dropSome(row.id);
    return true;
  }

  /** Whether memories of an owner have vectors of another embedder than this one. */
  isBehind(owner: string, embedder: string | undefined): Promise<boolean> {
    return embedder === undefined ? Promise.resolve(false) : this.#ask<'behind'>({ kind: 'behind', owner, embedder });
  }

  /** Throws CodedError `memory_unavailable` where the thread ends before it answers. */
  search(owner: string, ask: SearchAsk): Promise<readonly FoundMemory[]> {
    return this.#ask<'search'>({ kind: 'search', owner, ask });
  }

  /** Has the thread overwrite and forget what it has of an owner; without any it ends. */
  drop(owner: string): void {
    if (!this.#given.delete(owner)) return;
    this.#tell({ kind: 'drop', owner });
    if (this.#given.size === 0 && this.#waiting.length === 0) this.stop();
  }

  /** Drops owners that were used last before this time. */
  dropIdle(beforeMs: number): void {
    for (const [owner, { usedMs }] of this.#given) if (usedMs < beforeMs && !this.#isUsed(owner)) this.drop(owner);
  }

  /** Has the thread overwrite everything and end; the next search starts another. */
  stop(): void {
    this.#tell({ kind: 'end' });
    this.#ended(this.#thread, new Error('it was ended'));
  }

  #tell(command: SearchCommand, moved: readonly ArrayBuffer[] = []): void {
    this.#thread?.postMessage(command, moved);
  }

  #dropSome(used: string): void {
    let bytes = [...this.#given.values()].reduce((sum, one) => sum + one.bytes, 0);
    const others = [...this.#given].filter(([owner]) => owner !== used && !this.#isUsed(owner));
    for (const [owner, one] of others.sort(([, a], [, b]) => a.usedMs - b.usedMs)) {
      if (bytes <= this.#openBytes) return;
      bytes -= one.bytes;
      this.drop(owner);
    }
  }

  async #ask<Kind extends keyof SearchAnswers>(
    command: Extract<SearchCommand, { kind: Kind }>,
    moved: readonly ArrayBuffer[] = [],
  ): Promise<SearchAnswers[Kind]> {
    const thread = this.#running();
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<SearchAnswers[Kind]>((resolve, reject) => {
        // The thread answers in the order in which it is asked, each kind by its own type.
        this.#waiting.push({ answer: (value) => resolve(value as SearchAnswers[Kind]), fail: reject });
        timer = setTimeout(() => {
          this.#ended(thread, new Error(`it has not answered for ${ANSWER_MS} ms`));
          void thread.terminate();
        }, ANSWER_MS);
        this.#tell(command, moved);
      });
    } catch (cause) {
      throw new CodedError('memory_unavailable', 'The search ended before it had an answer; try again.', {
        cause,
        headers: { 'retry-after': '1' },
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #running(): Thread {
    if (this.#thread !== undefined) return this.#thread;
    const thread = new Thread(this.#file, { env: {}, execArgv: [] });
    thread.on('message', (value: unknown) => {
      if (this.#thread === thread) this.#waiting.shift()?.answer(value);
    });
    thread.once('error', (error) => this.#ended(thread, error));
    thread.once('exit', () => this.#ended(thread, new Error('it has ended')));
    thread.unref();
    return (this.#thread = thread);
  }

  /** Whoever waits for this thread is told, and nothing is in it any more. */
  #ended(thread: Thread | undefined, error: Error): void {
    if (thread === undefined || this.#thread !== thread) return;
    this.#thread = undefined;
    this.#given.clear();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { fail } of waiting) fail(error);
  }
}

function ownFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './search-thread.ts' : './search-thread.js', import.meta.url);
}

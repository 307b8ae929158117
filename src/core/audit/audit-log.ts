import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, oneOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { entryText, parseEntry, type AuditAct, type AuditEntry } from './audit-entry.ts';
import type { AuditFiles } from './audit-files.ts';

/** Included by scripts that make a change and write its entry in one step; see `withScript`. */
export const APPENDED_ENTRY = new URL('./lua/append-entry.lua', import.meta.url);
const APPEND = loadScript(new URL('./lua/append-audit.lua', import.meta.url), orMisplaced('ok', 'exists'), {
  included: [APPENDED_ENTRY],
});

/** Entries of one key in Redis, and of one file. */
export const SEGMENT = 1_000;
/** So often a number is taken by somebody else before it is an error. */
const MAX_TRIES = 1_000;
const READ_AT_ONCE = 200;
/** Entries that one call of `list` looks at, so that a tenant's page never reads the whole log. */
const EXAMINED = 5_000;

/** A command of Redis, in words. */
export type Change = readonly (string | number)[];

/** The words of HSET for a record; what is undefined is left out. */
export function hset(key: string, record: Record<string, string | number | undefined>): Change {
  const fields = Object.entries(record).filter((field): field is [string, string | number] => field[1] !== undefined);
  return ['HSET', key, ...fields.flat()];
}

/** Which entries, newest first. */
export interface AuditQuery {
  readonly limit: number;
  /** Only entries with a lower number. */
  readonly before?: number | undefined;
  /** Only entries that concern this tenant. */
  readonly tenant?: string | undefined;
}

interface Tail {
  /** The number of the next entry. */
  readonly next: number;
  /** The text of the last one; undefined before the first. */
  readonly text: string | undefined;
}

/** An entry had not its place: where the log ends, as far as the script could tell. */
export interface Misplaced {
  readonly tail: Tail | undefined;
}

type EntryScript<Said> = (number: number, text: string) => Promise<Said | Misplaced>;

/**
 * Who did what with which power. Entries are numbered fields that are written once, chained by their hashes;
 * attestors put the head into the transparency log and move old segments to files. Any number of processes
 * may write at once: each number is given once.
 */
@Injectable()
export class AuditLog {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  /** A key that this user may write; it only says which server. */
  readonly #routing: string;
  #tail: Tail | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(redis: Redis, keys: RedisKeys, routing = keys.tenants) {
    this.#redis = redis;
    this.#keys = keys;
    this.#routing = routing;
  }

  /** Writes an entry about what is done elsewhere. Throws what Redis answers. */
  async note(act: AuditAct): Promise<void> {
    await this.with(act, []);
  }

  /**
   * Makes a change and records it, both or neither. With `unless`, nothing is done where that key exists, or
   * any of the fields of that hash. Returns whether it was done. Throws what Redis answers, and CodedError
   * `storage_unavailable` where the log cannot be written to.
   */
  async with(act: AuditAct, changes: readonly Change[], unless = '', fields: readonly string[] = []): Promise<boolean> {
    const words = JSON.stringify(changes.map((change) => change.map(String)));
    const said = await this.withScript(act, 'ok', (number, entry) =>
      APPEND.run(this.#redis, [this.#routing], [this.#keys.prefix, number, entry, words, unless, ...fields]),
    );
    return said === 'ok';
  }

  /**
   * Makes a change by a script that includes `APPENDED_ENTRY` and writes the entry with it, both or neither.
   * `run` gets the number and the text of the entry, and resolves with what the script says: `written` where
   * it wrote both. It is called again where the entry had not its place. Throws like `with`.
   */
  withScript<Said extends string>(act: AuditAct, written: Said, run: EntryScript<Said>): Promise<Said> {
    // One after the other in this process, which would else compete with itself for each number.
    const done = this.#turn.then(() => this.#append(act, written, run));
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #append<Said extends string>(act: AuditAct, written: Said, run: EntryScript<Said>): Promise<Said> {
    for (let attempt = 1; attempt <= MAX_TRIES; attempt += 1) {
      const tail = (this.#tail ??= await this.#findTail());
      const entry = entryText(act, tail.next, tail.text, Date.now());
      const said = await run(tail.next, entry);
      if (typeof said === 'string') {
        if (said === written) this.#tail = { next: tail.next + 1, text: entry };
        return said;
      }
      this.#tail = said.tail;
    }
    throw new CodedError('storage_unavailable', 'The audit log cannot be written to now; try again.');
  }

  /** How many entries there are, and the text of the last. */
  async head(): Promise<{ entries: number; text: string | undefined }> {
    const tail = await this.#findTail();
    return { entries: tail.next, text: tail.text };
  }

  /**
   * A page of entries, newest first, from Redis and before that from files; and the number below which the
   * next page begins, where there may be one. What is no entry is left out.
   */
  async list(files: AuditFiles, query: AuditQuery): Promise<{ entries: AuditEntry[]; next: number | undefined }> {
    const { next: total } = await this.#findTail();
    const entries: AuditEntry[] = [];
    const top = Math.min(query.before ?? total, total);
    const floor = Math.max(0, top - EXAMINED);
    let end = top;
    while (end > floor) {
      const begin = Math.max(floor, end - READ_AT_ONCE, Math.floor((end - 1) / SEGMENT) * SEGMENT);
      const texts = await this.read(files, begin, end);
      for (let at = texts.length - 1; at >= 0; at -= 1) {
        end = begin + at;
        const entry = parseEntry(texts[at] ?? '');
        if (entry === undefined || (query.tenant !== undefined && entry.tenant !== query.tenant)) continue;
        entries.push(entry);
        if (entries.length === query.limit) return { entries, next: end > 0 ? end : undefined };
      }
      end = begin;
    }
    return { entries, next: floor > 0 ? floor : undefined };
  }

  /** The texts of the entries from a number up to another, of one segment; "" where there is none. */
  async read(files: AuditFiles, begin: number, end: number): Promise<string[]> {
    const segment = Math.floor(begin / SEGMENT);
    const numbers = Array.from({ length: end - begin }, (_, at) => begin + at);
    const found = await this.#redis.hmget(this.#keys.audit(segment), ...numbers.map((n) => String(n % SEGMENT)));
    if (found.some((one) => one !== null)) return found.map((one) => one ?? '');
    const lines = await files.read(segment);
    return numbers.map((n) => lines?.[n % SEGMENT] ?? '');
  }

  /**
   * The end of the log in this Redis, by looking at each number from the first segment that it has. An entry
   * that somebody wrote ahead of its turn stays where it is, and the chain goes on after it.
   */
  async #findTail(): Promise<Tail> {
    const [base = '0', before = ''] = ((await this.#redis.get(this.#keys.auditBase)) ?? '0').split(' ');
    let next = Number(base) * SEGMENT;
    let last = before === '' ? undefined : Buffer.from(before, 'base64').toString('utf8');
    for (;;) {
      const fields = Array.from({ length: SEGMENT }, (_, at) => String(at));
      const texts = await this.#redis.hmget(this.#keys.audit(Math.floor(next / SEGMENT)), ...fields);
      for (const found of texts) {
        if (found === null) return { next, text: last };
        next += 1;
        last = found;
      }
    }
  }
}

/**
 * What a script says that includes `APPENDED_ENTRY`: one of these words, or that the entry had not its place.
 */
export function orMisplaced<Word extends string>(...words: readonly Word[]): (reply: unknown) => Word | Misplaced {
  const oneOfThem = oneOf(...words);
  return (reply) => {
    const [kind, next, last] = cells(reply);
    if (kind === 'lost') return { tail: undefined };
    if (kind === 'taken') return { tail: { next: integer(next), text: text(last) } };
    return oneOfThem(kind);
  };
}

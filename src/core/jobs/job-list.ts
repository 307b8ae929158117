import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { isFinal, type JobState } from '../../proof/contract/job-states.ts';
import { isJobId } from './job-id.ts';
import type { JobReader, JobView } from './job.reader.ts';
import { isAmong, tenantOf, type Whose } from './whose.ts';

const READ_HEADS = loadScript(new URL('./lua/read-heads.lua', import.meta.url), listOf(text));

/**
 * A page ends after this many examined jobs and has a cursor for the rest, so that a filter that matches
 * little never scans a whole index. Of an ended job only the head of its record is examined, which does not
 * say what key made it: where that is asked, whole records are read, and fewer are examined.
 */
const EXAMINED_PER_PAGE = { open: 300, ended: 10_000 };
const EXAMINED_AT_ONCE = 500;

/** Which of a tenant's jobs, newest first; times are ISO 8601. */
export interface JobQuery {
  readonly state?: JobState | undefined;
  readonly model?: string | undefined;
  readonly created_after?: string | undefined;
  readonly created_before?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** A job in an index. */
interface Listed {
  readonly id: string;
  readonly createdMs: number;
  readonly isEnded: boolean;
}

/** Where a page ended, and how many jobs of the same millisecond are on the pages before. */
interface Position {
  readonly createdMs: number;
  readonly id: string;
  readonly skip: number;
}

/** Lists the jobs of tenants, open ones and those that have ended, newest first. */
export class JobList {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #reader: JobReader;

  constructor(redis: Redis, keys: RedisKeys, reader: JobReader) {
    this.#redis = redis;
    this.#keys = keys;
    this.#reader = reader;
  }

  /**
   * A page of these jobs, and the cursor of the next page if there may be one. Throws CodedError
   * `request_invalid` for a cursor that this service did not hand out.
   */
  async page(whose: Whose, query: JobQuery): Promise<{ jobs: JobView[]; next: string | undefined }> {
    const isOfKeys = typeof whose !== 'string';
    let position = query.cursor === undefined ? undefined : parseCursor(query.cursor);
    const jobs: JobView[] = [];
    for (let left = 1; left > 0;) {
      const found = await this.#after(whose, query, position);
      if (found.length === 0) return { jobs, next: undefined };
      const views = await this.#matching(whose, query, found);
      const start = position;
      for (const [at, listed] of found.entries()) {
        const view = views[at];
        if (view === 'later') break;
        const same = found.slice(0, at + 1).filter(({ createdMs }) => createdMs === listed.createdMs).length;
        position = { ...listed, skip: same + (start?.createdMs === listed.createdMs ? start.skip : 0) };
        left -= 1 / (listed.isEnded && !isOfKeys ? EXAMINED_PER_PAGE.ended : EXAMINED_PER_PAGE.open);
        if (view !== undefined) jobs.push(view);
        if (jobs.length === query.limit) return { jobs, next: formatCursor(position) };
      }
    }
    return { jobs, next: position === undefined ? undefined : formatCursor(position) };
  }

  /** The next jobs in the indexes. */
  async #after(whose: Whose, query: JobQuery, position: Position | undefined): Promise<Listed[]> {
    const tenant = tenantOf(whose);
    const { openOf, running, endedOf } = this.#keys;
    const { state, model } = query;
    const count = state === undefined && model === undefined ? query.limit + 1 : EXAMINED_AT_ONCE;
    const min = query.created_after === undefined ? '-inf' : `(${Date.parse(query.created_after)}`;
    const before = query.created_before === undefined ? '+inf' : `(${Date.parse(query.created_before)}`;
    const max = position === undefined ? before : String(position.createdMs);
    const most = count + (position?.skip ?? 0);
    // The open ones first: a job that ends in between is then met twice, and never missed.
    const open = state === 'running' ? running(tenant) : openOf(tenant);
    const indexes = [
      { key: open, isEnded: false, isAsked: state === undefined || !isFinal(state) },
      { key: endedOf(tenant), isEnded: true, isAsked: state === undefined || isFinal(state) },
    ];
    const listed = new Map<string, Listed>();
    for (const { key, isEnded } of indexes.filter(({ isAsked }) => isAsked)) {
      const rows = await this.#redis.zrange(key, max, min, 'BYSCORE', 'REV', 'LIMIT', 0, most, 'WITHSCORES');
      for (let at = 0; at + 1 < rows.length; at += 2) {
        const [id = '', createdMs] = [rows[at], Number(rows[at + 1])];
        if (position === undefined || createdMs < position.createdMs || id < position.id)
          listed.set(id, { id, createdMs, isEnded });
      }
    }
    return [...listed.values()].toSorted((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? 1 : -1)).slice(0, count);
  }

  /** Of each of these jobs what it is now, undefined where it is not asked for, `later` beyond the page. */
  async #matching(whose: Whose, query: JobQuery, found: readonly Listed[]): Promise<(JobView | 'later' | undefined)[]> {
    const { state, model } = query;
    const ended = found.filter(({ isEnded }) => isEnded).map(({ id }) => id);
    const heads =
      ended.length === 0 || (state === undefined && model === undefined)
        ? []
        : await READ_HEADS.run(this.#redis, [this.#keys.openOf(tenantOf(whose))], [this.#keys.prefix, ...ended]);
    const headOf = new Map(ended.map((id, at) => [id, heads[at] ?? '']));
    const isAsked = (word: string, name: string) =>
      (state === undefined || word === state) && (model === undefined || name === model);
    let wanted = query.limit;
    return Promise.all(
      found.map(async ({ id }) => {
        const head = headOf.get(id) ?? '';
        const [word = '', name = ''] = head.split(' ');
        if (head !== '' && !isAsked(word, name)) return undefined;
        if (head !== '' && (wanted -= 1) < 0) return 'later';
        const view = await this.#reader.read(id);
        return view !== undefined && isAmong(whose, view) && isAsked(view.state, view.model) ? view : undefined;
      }),
    );
  }
}

function formatCursor({ createdMs, id, skip }: Position): string {
  return Buffer.from(`${createdMs}.${skip}.${id}`).toString('base64url');
}

function parseCursor(cursor: string): Position {
  const parts = /^(\d{1,15})\.(\d{1,6})\.(.*)$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  const [, createdMs, skip, id = ''] = parts ?? [];
  if (!isJobId(id)) throw new CodedError('request_invalid', 'The cursor is not one that this service handed out.');
  return { createdMs: Number(createdMs), skip: Number(skip), id };
}

import type { Redis } from 'ioredis';
import { isJobId } from '../../core/jobs/job-id.ts';
import type { JobReader, JobView } from '../../core/jobs/job.reader.ts';
import { isAmong, tenantOf, type Whose } from '../../core/jobs/whose.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { isFinal, type JobState } from '../../proof/contract/job-states.ts';
import type { EndedJob, Place } from '../memory/history-calls.ts';
import type { MemoryClient } from '../memory/memory-client.ts';
import { wordsOf } from '../memory/reason-words.ts';
import { endedJobOf } from './ended-job.ts';

/** Open jobs that a page looks at, and those that ended so lately that the history has them not yet. */
const OPEN_EXAMINED = 300;
const OPEN_AT_ONCE = 100;
const MAX_NEWEST = 1_000;
/** A history that is so many entries behind the log is still taking in the archive. */
const ENTRIES_BEHIND = 4_096;
const MAX_WORDS = 16;
/** Before every other. */
const NEWEST: Place = { created_ms: Number.MAX_SAFE_INTEGER, id: '' };

/** Which jobs; times are ISO 8601. All that is named must hold. */
export interface SearchQuery {
  readonly state?: JobState | undefined;
  readonly model?: string | undefined;
  readonly worker?: string | undefined;
  /** The id of an API key. */
  readonly key?: string | undefined;
  /** Words of the reason. */
  readonly reason?: string | undefined;
  readonly created_after?: string | undefined;
  readonly created_before?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** A job that was found: an open one as it is, an ended one as the history keeps it. */
export type FoundJob = { readonly open: JobView } | { readonly ended: EndedJob };

export interface FoundJobs {
  readonly jobs: readonly FoundJob[];
  readonly next: string | undefined;
  /** Whether ended jobs are still to come into the history. */
  readonly isCatchingUp: boolean;
}

/** What one source has for a page, and the place behind which it has not looked. */
interface Source {
  readonly jobs: readonly FoundJob[];
  readonly next: Place | undefined;
}

const NOTHING: Source = { jobs: [], next: undefined };

/**
 * Finds jobs of tenants, newest first, also those that Redis keeps no longer: open ones in Redis, ended ones
 * in the history, and those in between by the stream of ends. Of a job that passes on meanwhile the sources
 * are asked in this order, so that it is met twice, shown once, and never missed.
 */
export class JobSearch {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #reader: JobReader;
  readonly #memory: MemoryClient;

  constructor(redis: Redis, keys: RedisKeys, reader: JobReader, memory: MemoryClient) {
    this.#redis = redis;
    this.#keys = keys;
    this.#reader = reader;
    this.#memory = memory;
  }

  /** Throws CodedErrors `request_invalid` for a cursor or a reason of no use, and `memory_unavailable`. */
  async page(whose: Whose, query: SearchQuery): Promise<FoundJobs> {
    const before = placeBefore(query);
    const words = query.reason === undefined ? [] : wordsOf(query.reason).slice(0, MAX_WORDS);
    if (query.reason !== undefined && words.length === 0)
      throw new CodedError('request_invalid', 'The reason has no word to look for.', { param: 'reason' });
    const { state } = query;
    const isOpenAsked = words.length === 0 && (state === undefined || !isFinal(state));
    const open = isOpenAsked ? await this.#open(whose, query, before) : NOTHING;
    if (state !== undefined && !isFinal(state)) return pageOf([open], query.limit, false);
    const past = await this.#memory.call('findEnded', {
      tenant: tenantOf(whose),
      keys: keysOf(whose, query.key),
      ...(state === undefined ? {} : { state }),
      ...(query.model === undefined ? {} : { model: query.model }),
      ...(query.worker === undefined ? {} : { worker: query.worker }),
      words,
      ...(query.created_after === undefined ? {} : { after_ms: Date.parse(query.created_after) }),
      before,
      limit: query.limit,
    });
    const newest = await this.#newest(whose, query, { before, words, entered: past.state.entered });
    const size = Number((await this.#redis.hget(this.#keys.log, 'size')) ?? 0);
    const isBehind = newest.isCut || size - past.state.archived > ENTRIES_BEHIND;
    const ended = { jobs: past.jobs.map((job) => ({ ended: job })), next: past.next ?? undefined };
    return pageOf([open, { jobs: newest.jobs, next: undefined }, ended], query.limit, isBehind);
  }

  /** The job that was asked for under this idempotency key within a day, while anything of it is kept. */
  async ofIdempotencyKey(whose: Whose, key: string): Promise<FoundJobs> {
    const noted = await this.#redis.get(this.#keys.idempotency(tenantOf(whose), sha256Hex(key)));
    const id = noted?.split(' ')[1] ?? '';
    const view = isJobId(id) ? await this.#reader.read(id) : undefined;
    if (view !== undefined)
      return { jobs: isAmong(whose, view) ? [{ open: view }] : [], next: undefined, isCatchingUp: false };
    const past = isJobId(id) ? await this.past(whose, id) : undefined;
    return { jobs: past === undefined ? [] : [{ ended: past }], next: undefined, isCatchingUp: false };
  }

  /** A job that only the history has; undefined where that has not begun or does not have it. */
  async past(whose: Whose, id: string): Promise<EndedJob | undefined> {
    if (!this.#memory.isThere || !isJobId(id)) return undefined;
    if ((await this.#redis.hexists(this.#keys.jobEnds, 'history')) === 0) return undefined;
    const job = await this.#memory.call('getEnded', { tenant: tenantOf(whose), id });
    return job !== null && isAmong(whose, { tenant: job.tenant, keyId: job.key_id }) ? job : undefined;
  }

  /** Open jobs, as many as the page has, or as are looked at. */
  async #open(whose: Whose, query: SearchQuery, before: Place): Promise<Source> {
    const tenant = tenantOf(whose);
    const key = query.state === 'running' ? this.#keys.running(tenant) : this.#keys.openOf(tenant);
    const min = query.created_after === undefined ? '-inf' : `(${Date.parse(query.created_after)}`;
    const jobs: FoundJob[] = [];
    let examined = 0;
    for (let offset = 0; ; offset += OPEN_AT_ONCE) {
      const limit = [offset, OPEN_AT_ONCE] as const;
      const rows = await this.#redis.zrange(
        key,
        before.created_ms,
        min,
        'BYSCORE',
        'REV',
        'LIMIT',
        ...limit,
        'WITHSCORES',
      );
      const places = rows.flatMap((id, at) => (at % 2 === 0 ? [{ id, created_ms: Number(rows[at + 1]) }] : []));
      const behind = places.filter((place) => compare(place, before) > 0);
      const views = await Promise.all(behind.map(({ id }) => this.#reader.read(id)));
      for (const view of views)
        if (view !== undefined && !isFinal(view.state) && isAsked(whose, query, view)) jobs.push({ open: view });
      examined += behind.length;
      if (places.length < OPEN_AT_ONCE) return { jobs, next: undefined };
      if (jobs.length > query.limit || examined >= OPEN_EXAMINED) return { jobs, next: behind.at(-1) };
    }
  }

  /** Jobs that ended after what the history has. */
  async #newest(
    whose: Whose,
    query: SearchQuery,
    { before, words, entered }: { before: Place; words: readonly string[]; entered: number },
  ): Promise<{ jobs: FoundJob[]; isCut: boolean }> {
    const ids = await this.#redis.zrangebyscore(this.#keys.ended, `(${entered}`, '+inf', 'LIMIT', 0, MAX_NEWEST + 1);
    const views = await Promise.all(ids.slice(0, MAX_NEWEST).map((id) => this.#reader.read(id)));
    const jobs = views.flatMap((view) => {
      if (view === undefined || !isAsked(whose, query, view)) return [];
      const ended = endedJobOf(view);
      if (ended === undefined || compare(ended, before) <= 0) return [];
      const said = new Set(ended.state === 'done' ? [] : wordsOf(`${ended.code} ${ended.detail}`));
      return words.every((word) => said.has(word)) ? [{ ended }] : [];
    });
    return { jobs, isCut: ids.length > MAX_NEWEST };
  }
}

/** Whether a job is one of those that are looked for, its reason aside. */
function isAsked(whose: Whose, query: SearchQuery, view: JobView): boolean {
  const { state, model, worker, key, created_after: after } = query;
  return (
    isAmong(whose, view) &&
    (state === undefined || view.state === state) &&
    (model === undefined || view.model === model) &&
    (worker === undefined || view.attempts.at(-1)?.worker === worker) &&
    (key === undefined || view.keyId === key) &&
    (after === undefined || view.createdMs > Date.parse(after))
  );
}

function keysOf(whose: Whose, key: string | undefined): string[] | null {
  if (typeof whose === 'string') return key === undefined ? null : [key];
  return [...whose.keys].filter((one) => key === undefined || one === key);
}

/**
 * One page out of what the sources have, newest first, each job once. What lies behind the place up to which
 * every source has looked waits for the next page.
 */
function pageOf(sources: readonly Source[], limit: number, isCatchingUp: boolean): FoundJobs {
  const bounds = sources.flatMap(({ next }) => next ?? []).toSorted(compare);
  const [bound] = bounds;
  const byId = new Map(sources.flatMap(({ jobs }) => jobs.map((job) => [placeOf(job).id, job] as const)));
  const all = [...byId.values()]
    .filter((job) => bound === undefined || compare(placeOf(job), bound) <= 0)
    .toSorted((a, b) => compare(placeOf(a), placeOf(b)));
  const jobs = all.slice(0, limit);
  const last = jobs.at(-1);
  const next = all.length > limit && last !== undefined ? placeOf(last) : bound;
  return { jobs, next: next === undefined ? undefined : formatCursor(next), isCatchingUp };
}

function placeOf(job: FoundJob): Place {
  return 'open' in job ? { created_ms: job.open.createdMs, id: job.open.id } : job.ended;
}

/** Below 0 where `a` is newer: it stands before `b`. */
function compare(a: Place, b: Place): number {
  return b.created_ms - a.created_ms || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

/** The place behind which the page begins. */
function placeBefore({ cursor, created_before: before }: SearchQuery): Place {
  const latest = before === undefined ? NEWEST : { created_ms: Date.parse(before), id: '' };
  if (cursor === undefined) return latest;
  const [, createdMs, id = ''] = /^s(\d{1,15})\.(.*)$/.exec(Buffer.from(cursor, 'base64url').toString('latin1')) ?? [];
  if (!isJobId(id))
    throw new CodedError('request_invalid', 'The cursor is not one of this search.', { param: 'cursor' });
  const place = { created_ms: Number(createdMs), id };
  return compare(place, latest) > 0 ? place : latest;
}

function formatCursor({ created_ms: createdMs, id }: Place): string {
  return Buffer.from(`s${createdMs}.${id}`).toString('base64url');
}

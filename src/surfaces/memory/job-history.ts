import { z } from 'zod';
import type { Database, Queries, Value } from '../../ground/database/database.ts';
import { EndedJob, HistoryState } from './history-calls.ts';
import type { Answer, Ask } from './memory-calls.ts';
import { wordsOf } from './reason-words.ts';

/** Rows of an index that one page looks at where a further filter leaves some out. */
const EXAMINED = 2_000;
/** Jobs that are removed in one transaction, and how often in a row. */
const CHUNK = 2_000;
const MAX_CHUNKS = 50;

/** For how long (ms) and how many ended jobs are kept. */
export interface HistoryBounds {
  readonly keptMs: number;
  readonly jobs: number;
}

/**
 * Has the statements of a transaction read indexes in their order, whatever the database thinks that it knows
 * of its tables: an embedded one keeps no statistics, and a plan that sorts all that matches is none for a
 * page.
 */
export const IN_ORDER = `select ${['seqscan', 'bitmapscan', 'hashjoin', 'mergejoin']
  .map((kind) => `set_config('enable_${kind}', 'off', true)`)
  .join(', ')}`;

/** The filters of which one leads: its index gives the order of the page. */
type Lead = 'word' | 'worker' | 'state' | 'model' | 'key_id' | undefined;

const Found = EndedJob.extend({ matches: z.boolean(), is_last: z.boolean(), examined: z.coerce.number() });
const Ids = z.array(z.object({ id: z.string() }));
const Total = z.object({ jobs: z.coerce.number(), is_unpurged: z.boolean() });

/**
 * The ended jobs of all tenants in the database, to be found again when Redis keeps them no longer. Any
 * number of calls at once; those that write take turns by the one row of `history`.
 */
export class JobHistory {
  readonly #database: Database;
  readonly #bounds: HistoryBounds;

  constructor(database: Database, bounds: HistoryBounds) {
    this.#database = database;
    this.#bounds = bounds;
  }

  async state(queries: Queries = this.#database): Promise<HistoryState> {
    const [row] = await queries.rows('select entered, archived from history');
    return HistoryState.parse(row);
  }

  /** One transaction: a crash leaves these ends entered and the history moved on, or neither. */
  async note({ jobs, from, to }: Ask<'noteEnds'>, nowMs = Date.now()): Promise<HistoryState> {
    return this.#database.transaction(async (queries) => {
      await takeTurn(queries);
      const at = await this.state(queries);
      if (at.entered !== from.entered || at.archived !== from.archived) return at;
      const added = await insert(queries, await this.#wanted(queries, jobs, nowMs));
      await queries.rows('update history set entered = $1, archived = $2, jobs = jobs + $3', [
        to.entered,
        to.archived,
        added,
      ]);
      return to;
    });
  }

  /** See `findEnded`. However much matches or does not, it looks at a bounded number of rows of one index. */
  async find(ask: Ask<'findEnded'>): Promise<Answer<'findEnded'>> {
    const { sql, values } = pageQuery(ask);
    const [state, read] = await this.#database.transaction(async (queries) => {
      await queries.rows(IN_ORDER);
      return [await this.state(queries), await queries.rows(sql, values)] as const;
    });
    const rows = z.array(Found).parse(read);
    const found = rows.filter(({ matches }) => matches);
    const jobs = found.slice(0, ask.limit).map(asJob);
    const isCut = (rows[0]?.examined ?? 0) >= examinedBy(ask);
    const last = found.length > ask.limit ? jobs.at(-1) : isCut ? rows.at(-1) : undefined;
    return { jobs, next: last === undefined ? null : { created_ms: last.created_ms, id: last.id }, state };
  }

  async get({ tenant, id }: Ask<'getEnded'>): Promise<Answer<'getEnded'>> {
    const [row] = await this.#database.rows(
      `select j.*, coalesce(t.detail, '') as detail from ended_job j left join ended_job_detail t on t.id = j.id
       where j.id = $1 and j.tenant = $2`,
      [id, tenant],
    );
    return row === undefined ? null : EndedJob.parse(row);
  }

  async erase({ ids }: Ask<'eraseEnded'>, nowMs = Date.now()): Promise<null> {
    if (ids.length === 0) return null;
    await this.#database.transaction(async (queries) => {
      await takeTurn(queries);
      await queries.rows(
        'insert into ended_job_erased (id, at_ms) select id, $2 from unnest($1::text[]) as one (id) on conflict do nothing',
        [ids, nowMs],
      );
      await queries.rows('update ended_job set erased_ms = least(erased_ms, $2) where id = any($1)', [ids, nowMs]);
      await removeTexts(queries, ids);
      // The code is ours, and says how it ended.
      await queries.rows(
        `insert into ended_job_word select tenant, code, created_ms, id from ended_job
         where id = any($1) and state <> 'done' and code <> '' on conflict do nothing`,
        [ids],
      );
      await queries.rows('update history set is_unpurged = true');
    });
    return null;
  }

  async forgetTenant({ tenant }: Ask<'forgetTenant'>): Promise<number> {
    return this.#database.transaction(async (queries) => {
      await takeTurn(queries);
      await queries.rows('insert into ended_job_tenant_gone (tenant) values ($1) on conflict do nothing', [tenant]);
      return remove(queries, 'tenant = $1 order by created_ms, id', [tenant]);
    });
  }

  /** Removes what is kept no longer, the oldest first, and what removed rows have left in the files. */
  async tidy(nowMs: number): Promise<void> {
    const oldestMs = nowMs - this.#bounds.keptMs;
    await this.#database.rows('delete from ended_job_erased where at_ms < $1', [oldestMs]);
    for (let chunk = 0; chunk < MAX_CHUNKS; chunk += 1) {
      const removed = await this.#database.transaction(async (queries) => {
        await takeTurn(queries);
        const { jobs } = await total(queries);
        const excess = Math.min(CHUNK, jobs - this.#bounds.jobs);
        const old = await remove(queries, 'ended_ms < $1 order by ended_ms', [oldestMs]);
        return old > 0 || excess <= 0 ? old : remove(queries, 'true order by ended_ms', [], excess);
      });
      if (removed === 0) break;
    }
    const { is_unpurged: isUnpurged } = await total(this.#database);
    if (!isUnpurged) return;
    await this.#database.purge(['ended_job_detail', 'ended_job_word']);
    await this.#database.rows('update history set is_unpurged = false');
  }

  /** Those of these jobs that are kept, without what was erased of them. */
  async #wanted(queries: Queries, jobs: readonly EndedJob[], nowMs: number): Promise<EndedJob[]> {
    const gone = z
      .array(z.object({ tenant: z.string() }))
      .parse(
        await queries.rows('select tenant from ended_job_tenant_gone where tenant = any($1)', [
          [...new Set(jobs.map(({ tenant }) => tenant))],
        ]),
      );
    const erased = z
      .array(z.object({ id: z.string(), at_ms: z.coerce.number() }))
      .parse(
        await queries.rows('select id, at_ms from ended_job_erased where id = any($1)', [jobs.map(({ id }) => id)]),
      );
    const goneTenants = new Set(gone.map(({ tenant }) => tenant));
    const erasedMs = new Map(erased.map(({ id, at_ms: atMs }) => [id, atMs]));
    return jobs
      .filter(({ tenant, ended_ms: endedMs }) => !goneTenants.has(tenant) && endedMs >= nowMs - this.#bounds.keptMs)
      .map((job) => {
        const atMs = job.erased_ms ?? erasedMs.get(job.id) ?? null;
        return atMs === null ? job : { ...job, erased_ms: atMs, detail: '' };
      });
  }
}

function asJob({ matches: _matches, is_last: _isLast, examined: _examined, ...job }: z.infer<typeof Found>): EndedJob {
  return job;
}

/** Whoever writes waits here for whoever has written, until their transaction is over. */
async function takeTurn(queries: Queries): Promise<void> {
  await queries.rows('select entered from history for update');
}

async function total(queries: Queries): Promise<z.infer<typeof Total>> {
  const [row] = await queries.rows('select jobs, is_unpurged from history');
  return Total.parse(row);
}

/** Inserts jobs, each once. Returns how many were new. */
async function insert(queries: Queries, jobs: readonly EndedJob[]): Promise<number> {
  if (jobs.length === 0) return 0;
  const json = JSON.stringify(jobs.map((job) => ({ ...job, words: wordsOf(reasonOf(job)) })));
  const added = await queries.rows(
    `insert into ended_job select * from json_populate_recordset(null::ended_job, $1::json)
     on conflict (id) do nothing returning id`,
    [json],
  );
  await queries.rows(
    `insert into ended_job_detail select id, detail from json_to_recordset($1::json) as one (id text, detail text)
     where detail <> '' on conflict do nothing`,
    [json],
  );
  await queries.rows(
    `insert into ended_job_word
     select tenant, word, created_ms, id
     from json_to_recordset($1::json) as one (id text, tenant text, created_ms bigint, words text[]),
          unnest(words) as each (word)
     on conflict do nothing`,
    [json],
  );
  return added.length;
}

/** That a job is done is found by its state: its reason would only be in the way of others. */
function reasonOf({ state, code, detail }: EndedJob): string {
  return state === 'done' ? '' : `${code} ${detail}`;
}

/** Removes a chunk of jobs with all that is known of them. Returns how many there were. */
async function remove(queries: Queries, which: string, values: readonly Value[], most = CHUNK): Promise<number> {
  const found = Ids.parse(await queries.rows(`select id from ended_job where ${which} limit ${most}`, values));
  const ids = found.map(({ id }) => id);
  if (ids.length === 0) return 0;
  await removeTexts(queries, ids);
  await queries.rows('delete from ended_job where id = any($1)', [ids]);
  await queries.rows('update history set jobs = jobs - $1', [ids.length]);
  return ids.length;
}

async function removeTexts(queries: Queries, ids: readonly string[]): Promise<void> {
  for (const table of ['ended_job_detail', 'ended_job_word'])
    await queries.rows(`delete from ${table} where id = any($1)`, [ids]);
}

/** The filter that is expected to leave the most out. */
function leadOf({ words, worker, state, model, keys }: Ask<'findEnded'>): Lead {
  if (words.length > 0) return 'word';
  if (worker !== undefined) return 'worker';
  if (state !== undefined && state !== 'done') return 'state';
  if (keys !== null) return 'key_id';
  if (model !== undefined) return 'model';
  return state === undefined ? undefined : 'state';
}

/** Rows that are looked at: as many as the page has where the index alone says what matches. */
function examinedBy(ask: Ask<'findEnded'>): number {
  const { words, worker, state, model, keys, limit } = ask;
  const filters = words.length + [worker, state, model].filter((one) => one !== undefined).length + (keys ? 1 : 0);
  return filters > 1 ? EXAMINED : limit + 1;
}

/**
 * The statement for one page: rows of the leading filter's index in their order, each value of it by itself,
 * and which of them the other filters let through.
 */
export function pageQuery(ask: Ask<'findEnded'>): { sql: string; values: Value[] } {
  const { tenant, keys, state, model, worker, words, before, limit } = ask;
  const lead = leadOf(ask);
  const values: Value[] = [tenant, before.created_ms, before.id, ask.after_ms ?? -1];
  const put = (value: Value) => `$${values.push(value)}`;
  const [longest = ''] = words.toSorted((a, b) => b.length - a.length);
  const led: Record<Exclude<Lead, undefined>, readonly string[]> = {
    word: [longest],
    worker: [worker ?? ''],
    state: [state ?? ''],
    model: [model ?? ''],
    key_id: keys ?? [],
  };
  const table = lead === 'word' ? 'ended_job_word' : 'ended_job';
  const inner = `select i.id, i.created_ms from ${table} i
    where i.tenant = $1 and (i.created_ms, i.id) < ($2, $3) and i.created_ms > $4
      ${lead === undefined ? '' : `and i.${lead} = lead.value`}
    order by i.created_ms desc, i.id desc limit ${examinedBy(ask)}`;
  const matches = [
    ...(worker === undefined ? [] : [`j.worker = ${put(worker)}`]),
    ...(state === undefined ? [] : [`j.state = ${put(state)}`]),
    ...(model === undefined ? [] : [`j.model = ${put(model)}`]),
    ...(keys === null ? [] : [`j.key_id = any(${put(keys)}::text[])`]),
    ...words.map(
      (word) =>
        `exists (select 1 from ended_job_word w where w.tenant = $1 and w.word = ${put(word)}
           and w.created_ms = j.created_ms and w.id = j.id)`,
    ),
  ].join(' and ');
  const sql = `with examined as materialized (
      select each.id, each.created_ms
      from unnest(${put(lead === undefined ? [''] : led[lead])}::text[]) as lead (value)
        cross join lateral (${inner}) as each
      order by each.created_ms desc, each.id desc limit ${examinedBy(ask)}),
    judged as (
      select j.*, ${matches === '' ? 'true' : matches} as matches,
        row_number() over (order by e.created_ms, e.id) = 1 as is_last
      from examined e join ended_job j on j.id = e.id)
    select j.*, coalesce(t.detail, '') as detail, (select count(*) from examined) as examined
    from (select * from judged where matches or is_last order by created_ms desc, id desc limit ${limit + 2}) j
      left join ended_job_detail t on t.id = j.id
    order by j.created_ms desc, j.id desc`;
  return { sql, values };
}

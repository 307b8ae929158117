import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { PgliteDatabase } from '../../src/ground/database/pglite-database.ts';
import { migrate } from '../../src/ground/database/migrate.ts';
import { HISTORY_MIGRATIONS } from '../../src/surfaces/memory/history-migrations.ts';
import { IN_ORDER, JobHistory, pageQuery } from '../../src/surfaces/memory/job-history.ts';
import type { Ask } from '../../src/surfaces/memory/memory-calls.ts';

const JOBS = 120_000;
const NOW = Date.now();

const Plan: z.ZodType<Plan> = z.lazy(() =>
  z.looseObject({
    'Node Type': z.string(),
    'Relation Name': z.string().optional(),
    'Index Name': z.string().optional(),
    'Actual Rows': z.number(),
    'Actual Loops': z.number(),
    Plans: z.array(Plan).optional(),
  }),
);
interface Plan {
  'Node Type': string;
  'Relation Name'?: string | undefined;
  'Index Name'?: string | undefined;
  'Actual Rows': number;
  'Actual Loops': number;
  Plans?: Plan[] | undefined;
}

const nodesOf = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

describe(`a history of ${JOBS} jobs`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-history-'));
  let database: PgliteDatabase;
  let history: JobHistory;

  beforeAll(async () => {
    database = await PgliteDatabase.open(folder);
    await migrate(database, HISTORY_MIGRATIONS);
    history = new JobHistory(database, { keptMs: 90 * 86_400_000, jobs: JOBS });
    await database.rows(
      `insert into ended_job
       select 'job_' || lpad(n::text, 8, '0'), case when n % 10 = 0 then 'small' else 'acme' end,
         case when n % 1000 = 1 then 'rare' else 'key-' || n % 3 end, 'model-' || n % 5, 'gpu', 'completion', '{}',
         case when n % 50 = 7 or n % 50 = 0 then 'failed' else 'done' end, 'worker-' || n % 200, 1, 'engine_error',
         $1::bigint + n, $1::bigint + n + 1000, $1::bigint + n, null, null, $1::bigint + n, null, null, null, null, null
       from generate_series(0, ${JOBS - 1}) as n`,
      [NOW - JOBS],
    );
    await database.rows(
      `insert into ended_job_word
       select tenant, word, created_ms, id from ended_job, unnest(array['engine_error', 'memory', 'engine']) as word
       where state = 'failed' union all
       select tenant, 'quagmire', created_ms, id from ended_job where state = 'failed' and right(id, 4) = '5000'`,
    );
    await database.rows('update history set jobs = $1', [JOBS]);
    await database.rows('analyze');
  }, 900_000);
  afterAll(async () => {
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const SEARCHES: Record<string, Partial<Ask<'findEnded'>>> = {
    everything: {},
    'a state': { state: 'failed' },
    'done jobs': { state: 'done' },
    'a model': { model: 'model-3' },
    'a worker': { worker: 'worker-7' },
    keys: { keys: ['rare', 'absent'] },
    'a rare word': { words: ['quagmire'] },
    'a common word and a rare one': { words: ['memory', 'engine'] },
    'a worker that never failed': { worker: 'worker-7', state: 'failed' },
    'a model and a state': { model: 'model-3', state: 'failed' },
    'a time': { after_ms: NOW - 100, before: { created_ms: NOW - 50, id: '' } },
    'what nobody has': { worker: 'nobody', words: ['nothing'] },
  };

  test.each(Object.entries(SEARCHES))('a page of %s reads indexes in their order, and few rows', async (_, change) => {
    for (const before of [
      { created_ms: Number.MAX_SAFE_INTEGER, id: '' },
      { created_ms: NOW - JOBS / 2, id: 'job_' },
    ]) {
      const ask = { tenant: 'acme', keys: null, words: [], limit: 50, before, ...change };
      const { sql, values } = pageQuery(ask);
      const [row] = await database.transaction(async ({ rows }) => {
        await rows(IN_ORDER);
        return rows(`explain (analyze, format json) ${sql}`, values);
      });
      const explained = z.object({ 'QUERY PLAN': z.array(z.object({ Plan })) }).parse(row);
      const nodes = nodesOf(
        explained['QUERY PLAN'][0]?.Plan ?? { 'Node Type': '', 'Actual Rows': 0, 'Actual Loops': 0 },
      );
      const scans = nodes.filter((node) => node['Relation Name'] !== undefined);
      expect(scans.map((node) => node['Node Type']).filter((type) => !/^Index (Only )?Scan$/.test(type))).toEqual([]);
      const read = scans.reduce((sum, node) => sum + node['Actual Rows'] * node['Actual Loops'], 0);
      expect(read).toBeLessThanOrEqual(12_000);
    }
  });

  test('all pages together are all that match, whatever they leave out on the way', async () => {
    const ids: string[] = [];
    let before: Ask<'findEnded'>['before'] | null = { created_ms: Number.MAX_SAFE_INTEGER, id: '' };
    let pages = 0;
    while (before !== null) {
      const page: Awaited<ReturnType<JobHistory['find']>> = await history.find({
        ...{ tenant: 'small', keys: null, words: [], model: 'model-0', state: 'done', limit: 100, before },
      });
      ids.push(...page.jobs.map(({ id }) => id));
      before = page.next;
      pages += 1;
    }
    const wanted = Array.from({ length: JOBS }, (_, at) => at).filter((at) => at % 10 === 0 && at % 50 !== 0);
    expect(ids).toEqual(wanted.toReversed().map((at) => `job_${String(at).padStart(8, '0')}`));
    expect(pages).toBeLessThan(ids.length / 50);
  });

  test('more than are kept: the oldest go, and the newest stay', async () => {
    const fewer = new JobHistory(database, { keptMs: 90 * 86_400_000, jobs: JOBS - 5_000 });
    await fewer.tidy(NOW);
    const [count] = await database.rows('select count(*)::int as jobs, min(id) as oldest from ended_job');
    expect(count).toEqual({ jobs: JOBS - 5_000, oldest: 'job_00005000' });
    expect(await database.rows(`select 1 from ended_job_word where id < 'job_00005000' limit 1`)).toEqual([]);
  });
});

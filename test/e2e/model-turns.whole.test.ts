import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { KJV_MODEL, Pipeline, embedModel, until, type Client, type Role } from '../support/pipeline.ts';
import { childrenOf } from '../support/processes.ts';
import { longTest } from '../support/thorough.ts';

const RESIDENT = { COUNTERSIGN_RESIDENT: '1' };
const NAMES = ['one', 'two', 'words'] as const;
const EACH = 6;
/** So long a load is expected to take before the first. */
const HINT_MS = 30_000;
const HINT = { hint: { base_ms: 10, token_ms: 1, load_ms: HINT_MS } };

let pipeline: Pipeline;
let client: Client;
let worker: Role;
let fragile: string;

const llama = (name: string, more: object = {}) => ({ ...KJV_MODEL, name, parallel: 1, ...more });
const ask = (model: string, n = 0) =>
  model === 'words'
    ? { model, task: 'embedding', input: { texts: [`in the beginning ${n}`] } }
    : { model, task: 'completion', input: { prompt: `In the beginning ${n}` }, params: { max_tokens: 4 }, attempts: 1 };

interface Said {
  readonly workers: readonly {
    readonly models: readonly { name: string; loaded?: boolean; coldMs?: number }[];
    readonly away?: readonly { name: string; why: string }[];
  }[];
}
interface Offered {
  readonly data: readonly { id: string; workers: number; loaded_workers: number; cold_ms: number | null }[];
}
const said = async () => (await client.json<Said>('/v1/workers')).workers[0];

/** The models that the engine processes of this worker were started for. */
function held({ process: { pid = 0 } }: Role): string[] {
  return childrenOf(pid, 'engine-process').flatMap((child) => {
    try {
      const environment = readFileSync(`/proc/${child}/environ`, 'utf8').split('\0');
      return environment.find((line) => line.startsWith('COUNTERSIGN_ENGINE_MODELS='))?.split('=')[1] ?? [];
    } catch {
      return [];
    }
  });
}
/** Of a process that has ended, the system knows no command any more. */
function runs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
  } catch {
    return false;
  }
}
const loads = ({ stderr }: Role) => stderr().split('a model was loaded').length - 1;

/** All of it was answered, at the first attempt, and never was more in memory than there is room for. */
async function allDone(by: Role): Promise<void> {
  const jobs = await Promise.all(
    Array.from({ length: EACH * NAMES.length }, (_, n) => client.submit(ask(NAMES[n % NAMES.length] ?? '', n))),
  );
  let most = 0;
  const watch = { isOver: false };
  const watched = (async () => {
    while (!watch.isOver) {
      most = Math.max(most, held(by).length);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const ended = await Promise.all(jobs.map(({ id }) => client.ended(id)));
  watch.isOver = true;
  await watched;
  expect(ended.map(({ state, attempts }) => [state, attempts.length])).toEqual(jobs.map(() => ['done', 1]));
  expect(most).toBe(1);
}

beforeAll(async () => {
  pipeline = await Pipeline.prepare([llama('one'), llama('two', HINT), { ...embedModel(), name: 'words' }]);
  await Promise.all([pipeline.api(), pipeline.attestor()]);
  client = await pipeline.client('operator');
  fragile = join(pipeline.folder, 'fragile.gguf');
});
afterAll(() => pipeline[Symbol.asyncDispose]());

describe('a worker that serves three models and has room for one', () => {
  test('says of each whether it is loaded and what a load takes, and one that is not is told to who waits', async () => {
    worker = await pipeline.worker(1, RESIDENT);
    const { models } = await until(said);
    expect(models.map(({ name, loaded }) => [name, loaded]).toSorted()).toEqual([
      ['one', true],
      ['two', false],
      ['words', false],
    ]);
    expect(models.every(({ coldMs = 0 }) => coldMs > 0)).toBe(true);
    const { data } = await client.json<Offered>('/v1/models');
    expect(data.map(({ id, workers, loaded_workers, cold_ms }) => [id, workers, loaded_workers, cold_ms])).toEqual([
      ['one', 1, 1, null],
      ['two', 1, 0, HINT_MS],
      ['words', 1, 0, 10_000],
    ]);
    const quoted = await until(async () => {
      const quote = await client.post('/v1/quote', ask('two'));
      const { eta } = (await quote.json()) as { eta: { p50: string } | null };
      return eta ?? undefined;
    });
    expect(Date.parse(quoted.p50) - Date.now()).toBeGreaterThan(HINT_MS / 2);
    // Long enough for somebody to ask why it waits.
    const waiting = await client.submit(ask('two'));
    const why = () => client.json<{ held_by: string; numbers: object }>(`/v1/jobs/${waiting.id}/why`);
    expect(await why()).toMatchObject({ held_by: 'cold_model', numbers: { cold_ms: HINT_MS, workers: 1 } });
    expect((await client.ended(waiting.id)).state).toBe('done');
  });

  test('serves them in turns, far fewer than jobs come in', async () => {
    await allDone(worker);
    // In the order in which they came it would have been one for nearly every job.
    expect(loads(worker)).toBeLessThanOrEqual(EACH);
  });

  test('that is killed in the middle of a swap leaves nothing behind, and every job its one attempt', async () => {
    const [at] = held(worker);
    const other = at === 'two' ? 'one' : 'two';
    const jobs = await Promise.all([1, 2, 3].map((n) => client.submit(ask(other, n))));
    await until(() => held(worker).includes(other));
    const children = childrenOf(worker.process.pid ?? 0, 'engine-process');
    worker.process.kill('SIGKILL');
    await worker.exited;
    await until(() => !children.some(runs));
    worker = await pipeline.worker(1, RESIDENT);
    for (const { id } of jobs)
      expect(await client.ended(id)).toMatchObject({ state: 'done', attempts: [expect.anything()] });
  });

  longTest('leaves at once when it is told to during a load, and what waited keeps its attempt', async () => {
    const [at] = held(worker);
    const other = at === 'two' ? 'one' : 'two';
    const waiting = await client.submit(ask(other));
    await until(() => held(worker).includes(other));
    worker.process.kill('SIGTERM');
    expect(await worker.exited).toBe(0);
    worker = await pipeline.worker(1, RESIDENT);
    expect(await client.ended(waiting.id)).toMatchObject({ state: 'done', attempts: [expect.anything()] });
  });
});

describe('a model that cannot be loaded', () => {
  longTest('is announced no longer, uses up no attempt, holds up no other, and is served once it can be', async () => {
    worker.process.kill('SIGTERM');
    await worker.exited;
    writeFileSync(fragile, 'no model');
    const models = [llama('one'), llama('two', { file: fragile })];
    writeFileSync(join(pipeline.folder, 'models.json'), JSON.stringify({ version: 1, models }));
    worker = await pipeline.worker(1, RESIDENT);
    const waiting = await client.submit(ask('two'));
    const { away } = await until(async () => ((await said())?.away?.length === 1 ? said() : undefined));
    expect(away).toMatchObject([{ name: 'two' }]);
    expect((await client.run(ask('one'))).state).toBe('done');
    expect(await client.job(waiting.id)).toMatchObject({ state: 'queued', attempts: [] });
    copyFileSync(KJV_MODEL.file, fragile);
    expect(await client.ended(waiting.id)).toMatchObject({ state: 'done', attempts: [expect.anything()] });
  });
});

longTest('behind a gateway it is the same', async () => {
  worker.process.kill('SIGTERM');
  await worker.exited;
  const models = [llama('one'), llama('two'), { ...embedModel(), name: 'words' }];
  writeFileSync(join(pipeline.folder, 'models.json'), JSON.stringify({ version: 1, models }));
  const gateway = await pipeline.gateway();
  worker = await pipeline.remoteWorker(1, String(gateway.facts['url']), RESIDENT);
  await allDone(worker);
  expect(loads(worker)).toBeLessThanOrEqual(EACH);
});

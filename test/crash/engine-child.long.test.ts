import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CatalogModel } from '../../src/core/catalog/catalog.ts';
import type * as Start from '../../src/core/catalog/start-engines.ts';
import { ChildEngines } from '../../src/core/engines/child-engines.ts';
import { runToEnd, type Engine, type Work } from '../../src/core/engines/engine.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { CrashingBuild } from '../support/crashing-build.ts';
import { KJV_MODEL, NOOP_MODEL, embedModel, until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { childrenOf, processorTicks } from '../support/processes.ts';

const WORK: Work = { task: 'completion', params: { max_tokens: 4, temperature: 0, top_p: 1, seed: 1, stop: [] } };
const NEVER = new AbortController().signal;

let build: CrashingBuild;
beforeAll(() => {
  build = new CrashingBuild();
});
afterAll(() => build[Symbol.dispose]());

/** A running child with the crashing engine. */
class Nursery implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'cs-child-'));
  readonly env: Record<string, string>;
  #engines: ChildEngines | undefined;

  constructor(model: object = NOOP_MODEL) {
    const catalog = join(this.folder, 'models.json');
    writeFileSync(catalog, JSON.stringify({ version: 1, models: [model] }));
    this.env = {
      COUNTERSIGN_CATALOG: catalog,
      COUNTERSIGN_ENGINE_MODELS: NOOP_MODEL.name,
      COUNTERSIGN_ENGINE_REFERENCES: 'true',
    };
  }

  get program(): URL {
    return pathToFileURL(join(build.dist, 'core', 'catalog', 'engine-process.js'));
  }

  async start(): Promise<ChildEngines> {
    this.#engines = await ChildEngines.start({
      program: this.program,
      env: this.env,
      models: [CatalogModel.parse(NOOP_MODEL)],
      stopMs: 5_000,
      streams: false,
      logger: createLogger('test', 'fatal'),
    });
    return this.#engines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engines?.close();
    rmSync(this.folder, { recursive: true });
  }
}

/** The files that a process has open, but for its standard error, which is ours, wherever that goes. */
function filesOf(pid: number): string[] {
  const open = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    if (fd === '2') return [];
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  return open.filter((file) => file.startsWith('/') && !file.startsWith('/dev/'));
}

const engineOf = (engines: ChildEngines): Engine => {
  const engine = engines.get('noop');
  if (engine === undefined) throw new Error('the model was never loaded');
  return engine;
};
const ask = (engines: ChildEngines, prompt: string, signal = NEVER) =>
  runToEnd(engineOf(engines), WORK, { prompt }, signal);
/** The child is there: it answers. */
const loadedAgain = (engines: ChildEngines) =>
  until(async () => (await codeOf(ask(engines, 'are you there'))) === 'answered');
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'answered',
    (error: unknown) => (error as { code?: string; name: string }).code ?? (error as Error).name,
  );

describe('engines in a child process', () => {
  test('answer as the engine itself does, and hold no key, no other variable and no open file of ours', async () => {
    await using nursery = new Nursery();
    const engines = await nursery.start();
    const { output, usage } = await ask(engines, 'In the beginning');
    expect(JSON.parse(output)).toMatchObject({ finish_reason: 'stop' });
    expect(usage).toEqual({ inputTokens: 1, outputTokens: 1 });
    expect(await engineOf(engines).recount?.(WORK, { prompt: 'a' }, output)).toEqual({
      inputTokens: 1,
      outputTokens: 1,
    });
    const [pid] = childrenOf(process.pid, 'engine-process');
    const environment = readFileSync(`/proc/${pid ?? 0}/environ`, 'utf8')
      .split('\0')
      .filter(Boolean);
    expect(environment.map((line) => line.split('=')[0]).toSorted()).toEqual(Object.keys(nursery.env).toSorted());
    // Its own program may still be read by a thread of it.
    await until(() => filesOf(pid ?? 0).length === 0);
  });

  test('one that dies fails what it had in hand; the question that killed it is asked alone, and after two deaths no more', async () => {
    await using nursery = new Nursery();
    const engines = await nursery.start();
    const beside = codeOf(ask(engines, 'WAIT here'));
    expect(await codeOf(ask(engines, 'CRASH'))).toBe('engine_died');
    expect(await beside).toBe('engine_died');
    expect(await codeOf(ask(engines, 'at once'))).toBe('engine_away');
    // Soon back: others go on being told of it.
    expect(engines.loaded.get('noop')).toBeDefined();
    await loadedAgain(engines);
    // The bystander and the killer are both suspect now: each is asked alone.
    const stop = new AbortController();
    const alone = codeOf(ask(engines, 'WAIT here', stop.signal));
    const killer = codeOf(ask(engines, 'CRASH'));
    const others = codeOf(ask(engines, 'others'));
    stop.abort(new DOMException('stopped', 'AbortError'));
    expect(await alone).toBe(20);
    expect(await killer).toBe('engine_died');
    expect(['engine_away', 'answered']).toContain(await others);
    await loadedAgain(engines);
    expect(await codeOf(ask(engines, 'CRASH'))).toBe('engine_died');
    expect(await codeOf(ask(engines, 'others'))).toBe('answered');
  });

  test('a call stops at its signal; one that does not is ended with the child, and no other is blamed', async () => {
    await using nursery = new Nursery();
    const engines = await nursery.start();
    const [pid] = childrenOf(process.pid, 'engine-process');
    expect(await codeOf(ask(engines, 'WAIT', AbortSignal.timeout(50)))).toBe(23);
    expect(childrenOf(process.pid, 'engine-process')).toEqual([pid]);
    const bystander = codeOf(ask(engines, 'WAIT for the end'));
    expect(await codeOf(ask(engines, 'STALL', AbortSignal.timeout(50)))).toBe(23);
    expect(await bystander).toBe('engine_died');
    await loadedAgain(engines);
    const beside = codeOf(ask(engines, 'WAIT for the end', AbortSignal.timeout(2_000)));
    expect(await codeOf(ask(engines, 'not held up'))).toBe('answered');
    expect(await beside).toBe(23);
  });

  test('the child ends with its parent, also in the middle of an endless computation', async () => {
    await using nursery = new Nursery();
    const parent = spawn(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `import { ChildEngines } from ${JSON.stringify(pathToFileURL(join(build.dist, 'core/engines/child-engines.js')).href)};
         import { CatalogModel } from ${JSON.stringify(pathToFileURL(join(build.dist, 'core/catalog/catalog.js')).href)};
         const logger = { warn: () => undefined };
         const engines = await ChildEngines.start({
           program: new URL(${JSON.stringify(nursery.program.href)}),
           env: ${JSON.stringify(nursery.env)},
           models: [CatalogModel.parse(${JSON.stringify(NOOP_MODEL)})],
           stopMs: 5_000,
           streams: false,
           logger,
         });
         const run = engines.get('noop').run(${JSON.stringify(WORK)}, { prompt: 'STALL' }, new AbortController().signal);
         const asked = run.next();
         console.log('asked');
         await asked;`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(parent.stdout, 'data');
    const [child] = childrenOf(parent.pid ?? 0, 'engine-process');
    if (child === undefined) throw new Error('there is no child');
    // It computes: what only loads its model or waits to be asked comes to rest.
    const before = processorTicks(child);
    await until(() => processorTicks(child) > before + 50);
    parent.kill('SIGKILL');
    await until(() => !readdirSync('/proc').includes(String(child)));
  });

  test('a child that ends before its models are loaded ends the start', async () => {
    await using nursery = new Nursery();
    nursery.env['COUNTERSIGN_ENGINE_MODELS'] = 'other';
    await expect(nursery.start()).rejects.toMatchObject({ code: 'engine_unfit' });
  });

  test('those that compute stream what they write, and stop within a piece of the largest request', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-computing-'));
    const catalog = join(folder, 'models.json');
    const entries = [KJV_MODEL, embedModel()];
    writeFileSync(catalog, JSON.stringify({ version: 1, models: entries }));
    const models = entries.map((entry) => CatalogModel.parse(entry));
    expect(models.map(({ computesHere }) => computesHere)).toEqual([true, true]);
    // The program of the child stands beside it in the build.
    const built = pathToFileURL(join(ROOT, 'dist', 'core', 'catalog', 'start-engines.js')).href;
    const { startEngines } = (await import(built)) as typeof Start;
    const use = { catalog, areReferences: false, stopMs: 600_000, streams: true };
    const engines = await startEngines(models, use, createLogger('test', 'fatal'));
    try {
      const pieces: string[] = [];
      const work: Work = { task: 'completion', params: { ...WORK.params, max_tokens: 24 } };
      const prompt = { prompt: 'In the beginning' };
      const { output } = await runToEnd(engines.require(KJV_MODEL.name), work, prompt, NEVER, (text) =>
        pieces.push(text),
      );
      expect(pieces.length).toBeGreaterThan(1);
      expect(JSON.parse(output)).toMatchObject({ text: pieces.join('') });

      const embedding = engines.require('use-lite');
      const embed = (texts: string[], signal = NEVER) =>
        codeOf(runToEnd(embedding, { ...WORK, task: 'embedding' }, { texts }, signal));
      const stop = new AbortController();
      const largest = embed(
        Array.from({ length: 512 }, () => 'word '.repeat(3_000)),
        stop.signal,
      );
      expect(await codeOf(runToEnd(engines.require(KJV_MODEL.name), work, prompt, NEVER))).toBe('answered');
      stop.abort(new DOMException('stopped', 'AbortError'));
      expect(await largest).toBe(20);
      expect(await embed(['a word'])).toBe('answered');
      expect(await embed(['a'.repeat(16_385)])).toBe('context_exceeded');
    } finally {
      await engines.close();
      rmSync(folder, { recursive: true });
    }
  });
});

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PgliteDatabase } from '../../src/ground/database/pglite-database.ts';
import { SEARCH_MODES } from '../../src/surfaces/memory/ranking.ts';
import { MemoryFolder, WordEmbedder, aDraft, whoseOf } from '../support/memory-desks.ts';
import { until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { IS_LONG } from '../support/thorough.ts';

const THREAD = pathToFileURL(join(ROOT, 'dist', 'surfaces', 'memory', 'search-thread.js'));
const EVERYTHING = { superseded: true } as const;

/** The program of the thread, which ends where there is a file `end`, and otherwise waits for a file `go`. */
const heldThread = (place: string) => `
  import { existsSync, writeFileSync } from 'node:fs';
  const has = (name) => existsSync(${JSON.stringify(place)} + '/' + name);
  if (has('end')) process.exit(1);
  writeFileSync(${JSON.stringify(join(place, 'held'))}, '');
  while (!has('go')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  await import(${JSON.stringify(THREAD.href)});
`;

describe('Large owners', () => {
  const folder = new MemoryFolder();
  let database: PgliteDatabase;
  beforeAll(async () => {
    database = await PgliteDatabase.open(folder.path);
  });
  afterAll(() => database.close());

  test('a thread finds what the main thread does, whatever was written, corrected, erased or embedded before', async () => {
    const threaded = await folder.open(database, undefined, { largeFrom: 0, threadFile: THREAD });
    const word = fc.constantFrom('red', 'green', 'blue', 'cat', 'dog', '猫が', 'the');
    const text = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join(' '));
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), texts: fc.array(text, { minLength: 1, maxLength: 8 }) }),
      fc.record({ kind: fc.constant('correct' as const), at: fc.nat(50), text }),
      fc.record({ kind: fc.constant('erase' as const), at: fc.nat(50) }),
    );
    const ask = fc.record({
      query: text,
      mode: fc.constantFrom(...SEARCH_MODES),
      limit: fc.integer({ min: 1, max: 20 }),
      filter: fc.record({ superseded: fc.boolean(), category: fc.constantFrom('odd', undefined) }),
    });
    const rounds = fc.array(fc.tuple(fc.array(step, { maxLength: 4 }), ask), { minLength: 2, maxLength: 4 });
    let owners = 0;
    await fc.assert(
      fc.asyncProperty(rounds, async (all) => {
        const whose = whoseOf({ owner: `owner ${(owners += 1)}` });
        const ids: string[] = [];
        for (const [steps, { filter, ...asked }] of all) {
          for (const one of steps) {
            const id = 'at' in one ? ids[one.at % Math.max(1, ids.length)] : undefined;
            if (one.kind === 'add') {
              const drafts = one.texts.map((each, at) => aDraft(each, { category: at % 2 === 0 ? 'odd' : null }));
              for (const { entry } of await threaded.answers.add({ whose, drafts })) ids.push(entry.id);
            } else if (id !== undefined && one.kind === 'correct') {
              await threaded.answers.correct({ whose, id, change: { text: one.text }, origin: aDraft('').origin });
            } else if (id !== undefined) {
              await threaded.answers.erase({ whose, ids: [id] });
              ids.splice(0, ids.length, ...ids.filter((other) => other !== id));
            }
          }
          const { category, superseded } = filter;
          const search = { whose, ...asked, filter: { superseded, ...(category === undefined ? {} : { category }) } };
          const found = await threaded.answers.search(search);
          // It opens them anew, from the same database.
          const plain = await folder.open(database, undefined, { largeFrom: 1_000_000 });
          expect(found).toEqual(await plain.answers.search(search));
        }
      }),
      { numRuns: 12 },
    );
    // Another embedder: both embed again what the first one finds.
    const whose = whoseOf({ owner: 'ann' });
    await threaded.answers.add({ whose, drafts: [aDraft('the cat sleeps'), aDraft('dogs bark')] });
    const other = await folder.open(database, new WordEmbedder('other'), { largeFrom: 0, threadFile: THREAD });
    const found = await other.answers.search({ whose, query: 'cat', mode: 'semantic', limit: 5, filter: EVERYTHING });
    expect(found.map(({ semantic, entry }) => [semantic?.rank, entry.text])).toEqual([
      [1, 'the cat sleeps'],
      [2, 'dogs bark'],
    ]);
    threaded.stop();
    other.stop();
  });

  test('while a large owner is searched others are answered, and a thread that ends fails its search alone', async () => {
    const place = mkdtempSync(join(tmpdir(), 'cs-held-'));
    const threadFile = pathToFileURL(join(place, 'thread.mjs'));
    writeFileSync(threadFile, heldThread(place));
    // By itself the bound is 10,000.
    const desk = await folder.open(database, undefined, { threadFile, ...(IS_LONG ? {} : { largeFrom: 1_000 }) });
    const [large, small] = [whoseOf({ owner: 'large' }), whoseOf({ owner: 'small' })];
    for (let page = 0; page < (IS_LONG ? 11 : 2); page += 1) {
      const drafts = Array.from({ length: 1_000 }, (_, at) => aDraft(`entry number ${page * 1_000 + at}`));
      await desk.answers.add({ whose: large, drafts });
    }
    await desk.answers.add({ whose: small, drafts: [aDraft('entry of mine')] });
    const search = (whose: typeof large) =>
      desk.answers.search({ whose, query: 'number 7', mode: 'hybrid', limit: 3, filter: EVERYTHING });
    writeFileSync(join(place, 'end'), '');
    await expect(search(large)).rejects.toMatchObject({ code: 'memory_unavailable', status: 503 });
    rmSync(join(place, 'end'));
    let isAnswered = false;
    const found = search(large).finally(() => {
      isAnswered = true;
    });
    await until(() => Promise.resolve(existsSync(join(place, 'held'))));
    expect(await search(small)).toHaveLength(1);
    await desk.answers.add({ whose: small, drafts: [aDraft('meanwhile')] });
    expect((await desk.answers.list({ whose: small, filter: EVERYTHING, limit: 5 })).entries).toHaveLength(2);
    expect(isAnswered).toBe(false);
    writeFileSync(join(place, 'go'), '');
    expect((await found)[0]?.entry.text).toBe('entry number 7');
    // What nobody uses for a while is dropped, and the thread with it; the next search starts another.
    rmSync(join(place, 'held'));
    await desk.tidy(Date.now() + 3_600_000);
    expect((await search(large))[0]?.entry.text).toBe('entry number 7');
    expect(existsSync(join(place, 'held'))).toBe(true);
    desk.stop();
    rmSync(place, { recursive: true });
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { readCatalog } from './catalog.ts';

const folder = mkdtempSync(join(tmpdir(), 'cs-catalog-'));
const path = join(folder, 'models.json');
const common = { pool: 'default', tasks: ['completion'], sha256: 'a'.repeat(64) };
const SERVER = {
  ...common,
  name: 'remote',
  engine: 'openai',
  baseUrl: 'http://one.test/api',
  remoteModel: 'm',
};
const read = (...models: object[]) => {
  writeFileSync(path, JSON.stringify({ version: 1, models }));
  return readCatalog(path);
};

describe('readCatalog', () => {
  afterAll(() => rmSync(folder, { recursive: true }));

  test('what a model can do is known without its engine being named', () => {
    const catalog = read({ ...common, name: 'gguf', engine: 'llama', file: 'm.gguf' }, SERVER, {
      ...SERVER,
      name: 'replayed',
      features: ['tools'],
      replay: { baseUrl: 'http://two.test', endTokens: [2] },
    });
    const of = (name: string) => catalog.get(name)?.capabilities;
    expect(of('gguf')).toEqual({
      repeats: 'exact',
      measuresWeights: true,
      features: [],
      parallel: 4,
      replay: { measure: 'margin', maxTemperature: 2 },
    });
    expect(of('remote')).toMatchObject({ repeats: 'no', measuresWeights: false, replay: undefined });
    expect(of('remote')?.features).toContain('logprobs');
    expect(of('replayed')).toMatchObject({ features: ['tools'], replay: { measure: 'surprise', maxTemperature: 1 } });
  });

  test('every mistake is named with its place', () => {
    const wrong = () =>
      read({ ...common, name: 'Bad Name', engine: 'llama' }, { ...common, name: 'x', engine: 'warp' });
    for (const place of ['models.0.name', 'models.0.file', 'models.1.engine']) expect(wrong).toThrow(place);
    expect(() => read({ ...common, name: 'x', engine: 'embed', threads: 1 })).toThrow('threads');
  });

  test('a name can be used once, and no server judges its own answers', () => {
    expect(() => read(SERVER, SERVER)).toThrow('names the model remote twice');
    const echo = { ...SERVER, replay: { baseUrl: 'http://one.test/other', endTokens: [2] } };
    expect(() => read(echo)).toThrow('judged by the very server');
  });

  test('a catalog follows another about models that change, come and go; their queues stay', () => {
    const catalog = read(SERVER);
    const before = [...catalog.queues()];
    catalog.follow(read({ ...SERVER, tasks: ['chat'], sha256: 'b'.repeat(64) }, { ...SERVER, name: 'new' }));
    expect(catalog.get('remote')).toMatchObject({ tasks: ['chat'], sha256: 'b'.repeat(64) });
    expect(catalog.get('new')).toMatchObject({ pool: 'default' });
    catalog.follow(read({ ...SERVER, name: 'new' }));
    expect(catalog.all().map(({ name }) => name)).toEqual(['new']);
    expect(catalog.queues()).toEqual([...before, 'default.new']);
    catalog.follow(read(SERVER));
    expect(catalog.queues()).toEqual(['default.remote', 'default.new']);
  });

  test('whoever remembers goes on knowing a model that has gone, by its last word', () => {
    const catalog = read(SERVER);
    catalog.followAndRemember(read({ ...SERVER, sha256: 'b'.repeat(64) }));
    catalog.followAndRemember(read({ ...SERVER, name: 'new' }));
    expect(catalog.get('remote')?.sha256).toBe('b'.repeat(64));
    expect(catalog.all().map(({ name }) => name)).toEqual(['remote', 'new']);
  });

  test('a catalog with another pool, or a model that has moved between pools, changes nothing', () => {
    const catalog = read(SERVER, { ...SERVER, name: 'gold', pool: 'gold' });
    const all = catalog.all();
    for (const [other, why] of [
      [[SERVER, { ...SERVER, name: 'new', pool: 'elsewhere' }], 'a folder of its own (elsewhere)'],
      [[{ ...SERVER, pool: 'gold', tasks: ['chat'] }], 'leave its jobs behind (remote)'],
    ] as const) {
      expect(() => catalog.follow(read(...other))).toThrow(why);
      expect(() => catalog.followAndRemember(read(...other))).toThrow(why);
      expect(catalog.all()).toEqual(all);
    }
    // Nor may it come back elsewhere after it has gone.
    catalog.follow(read({ ...SERVER, name: 'gold', pool: 'gold' }));
    expect(() => catalog.follow(read({ ...SERVER, pool: 'gold' }))).toThrow('leave its jobs behind (remote)');
  });
});

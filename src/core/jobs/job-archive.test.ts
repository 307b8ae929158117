import { cpSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FolderTree } from '../../ground/blobs/file-tree.ts';
import { JobArchive, type Archived } from './job-archive.ts';
import { newJobId } from './job-id.ts';
import { isErased, openAny } from './erased-record.ts';
import { recordBody, recordBytes } from './job-record.ts';
import { recordsIn } from '../../../test/support/canary.ts';
import { aRecord } from '../../../test/support/records.ts';
import { wholeTest } from '../../../test/support/thorough.ts';

const root = mkdtempSync(join(tmpdir(), 'cs-archive-'));
const newFolder = () => mkdtempSync(join(root, 'a-'));
const archiveIn = (folder: string) => new JobArchive(new FolderTree(folder));
const START = 1_790_000_000_000;

/** An entry every second; every fifth is no job's. */
function entry(index: number): Archived {
  const createdMs = START + index * 1_000;
  const head = { state: 'done', index, endedMs: createdMs + 500, tenant: 'acme', model: 'noop' } as const;
  const job = { id: newJobId('default', createdMs), record: recordBytes(head, Buffer.from(`body ${index}`)) };
  return { index, entry: Buffer.from(`entry ${index}`), job: index % 5 === 4 ? undefined : job };
}

/** Writes them in steps of these sizes, each under a checkpoint of its own. */
async function write(archive: JobArchive, all: readonly Archived[], steps: readonly number[]): Promise<void> {
  let at = 0;
  for (let turn = 0; at < all.length; turn += 1) {
    const next = Math.min(all.length, at + (steps[turn % steps.length] ?? 1));
    await archive.write(`checkpoint ${next}`, all.slice(at, next));
    at = next;
  }
}

async function readAll(archive: JobArchive, from = 0, to = 10_000): Promise<Archived[]> {
  const found: Archived[] = [];
  for await (const item of archive.read(from, to)) found.push(item);
  return found;
}

const CANARY = 'canary of entry';
/** An entry whose record can be opened; the canary stands in its output and in what its surface keeps. */
function whole(index: number): Archived {
  const createdMs = START + index * 1_000;
  const id = newJobId('default', createdMs);
  const record = aRecord({ id, surface: `${CANARY} ${index}.`, output: Buffer.from(`${CANARY} ${index}.`) });
  const head = { state: 'done', index, endedMs: createdMs + 500, tenant: 'acme', model: 'noop' } as const;
  return { index, entry: Buffer.from(`entry ${index}`), job: { id, record: recordBytes(head, recordBody(record)) } };
}

/** Marks these entries as the attestor does before it removes anything. */
async function mark(archive: JobArchive, all: readonly Archived[], places: readonly number[]): Promise<void> {
  await archive.erasures.add(places.map((place) => ({ id: all[place]?.job?.id ?? '', place, erasedMs: START })));
}

/** The places whose records some file of this folder still holds. */
function held(folder: string): Set<number> {
  return new Set(recordsIn(join(folder, 'archive')).flatMap(({ index, record }) => (isErased(record) ? [] : [index])));
}

describe('the archive', () => {
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  wholeTest('gives back what was written, whatever the checkpoints held, and finds every job by its id', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 6 }), async (steps) => {
        const archive = archiveIn(newFolder());
        const all = Array.from({ length: 620 }, (_, index) => entry(index));
        await write(archive, all, steps);
        expect(await readAll(archive)).toEqual(all);
        expect(await readAll(archive, 250, 260)).toEqual(all.slice(250, 260));
        expect(await archive.newestCheckpoint()).toBe('checkpoint 620');
        for (const { job } of [all[0], all[255], all[256], all[511], all[618]].flatMap((item) => item ?? []))
          if (job !== undefined) expect(await archive.find(job.id)).toEqual(job.record);
        expect(await archive.find(newJobId('default', START + 5_000))).toBeUndefined();
        expect(await archive.find(newJobId('default', START * 2))).toBeUndefined();
      }),
      { numRuns: 5 },
    );
  });

  test('of two attestors that write at once is one', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 520 }, (_, index) => entry(index));
    await Promise.all([write(archiveIn(folder), all, [7, 40]), write(archiveIn(folder), all, [31, 5])]);
    expect(await readAll(archiveIn(folder))).toEqual(all);
  });

  test('takes no other entry in a place that is taken', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 20 }, (_, index) => entry(index));
    await write(archiveIn(folder), all, [10]);
    const other = all.slice(10).map((item) => ({ ...item, entry: Buffer.from('other') }));
    await expect(archiveIn(folder).write('fork', other)).rejects.toThrow('Entry 10');
    expect(await readAll(archiveIn(folder))).toEqual(all);
  });

  // In parts of other names, in parts of one name, and where the other fills the tile.
  test.each([
    [2, 20],
    [10, 20],
    [20, 300],
  ])(
    'of two attestors that write other entries at once, whoever stops leaves nothing of its own (%i)',
    async (count, to) => {
      const folder = newFolder();
      const all = Array.from({ length: 300 }, (_, index) => entry(index));
      await write(archiveIn(folder), all.slice(0, 10), [10]);
      const late = new FolderTree(folder);
      late.in = (name) => {
        const tree = new FolderTree(join(folder, name));
        const own = tree.create.bind(tree);
        // The other has looked before this one has written, and goes on.
        tree.create = async (...files) => {
          await archiveIn(folder).write('of the other', all.slice(10, to));
          return own(...files);
        };
        return tree;
      };
      const others = Array.from({ length: count }, (_, at) => ({ ...entry(10 + at), entry: Buffer.from('another') }));
      await expect(new JobArchive(late).write('void', others)).rejects.toThrow('Entry 10');
      expect(await readAll(archiveIn(folder))).toEqual(all.slice(0, to));
      expect(await archiveIn(folder).newestCheckpoint()).toBe('of the other');
    },
  );

  test('takes none either that another has written beyond what was compared with it before', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 30 }, (_, index) => entry(index));
    await archiveIn(folder).write('of the other', all);
    const archive = archiveIn(folder);
    await archive.write('the same', all.slice(0, 10));
    const others = [10, 11].map((index) => ({ ...entry(index), entry: Buffer.from('another') }));
    await expect(archive.write('void', others)).rejects.toThrow('Entry 10');
  });

  test('lets go of whole files whose time is over, and of no other', async () => {
    const folder = newFolder();
    const archive = archiveIn(folder);
    const all = Array.from({ length: 600 }, (_, index) => entry(index));
    await write(archive, all, [100]);
    expect(await archive.removeOld(START + 256_000)).toBe(1);
    expect(await readAll(archive, 256)).toEqual(all.slice(256));
    expect(await archive.find(all[0]?.job?.id ?? '')).toBeUndefined();
    expect(await archive.find(all[300]?.job?.id ?? '')).toEqual(all[300]?.job?.record);
  });

  const ERASED = [0, 3, 70, 254, 255, 256, 299];

  test('holds stubs in the place of what is erased, whether its files are whole or in parts, and every other record as it was', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 300 }, (_, index) => whole(index));
    await write(archiveIn(folder), all, [40]);
    const archive = archiveIn(folder);
    await mark(archive, all, ERASED);
    for (const tile of [0, 1, 1, 0]) await archive.erase(tile);
    const kept = all.map(({ index }) => index).filter((index) => !ERASED.includes(index));
    expect([...held(folder)].toSorted((a, b) => a - b)).toEqual(kept);
    const now = await readAll(archive);
    expect(now.map(({ entry: bytes }) => bytes)).toEqual(all.map(({ entry: bytes }) => bytes));
    for (const index of kept) expect(now[index]).toEqual(all[index]);
    for (const index of ERASED) {
      const found = (await archive.find(all[index]?.job?.id ?? '')) ?? Buffer.alloc(0);
      expect(openAny(found)).toMatchObject({ id: all[index]?.job?.id, index, erasedMs: START });
    }
    expect(await archive.newestCheckpoint()).toBe('checkpoint 300');
  });

  test.each([
    ['the mark', () => Promise.resolve()],
    ['a part of the files', (archive: JobArchive) => archive.erase(0)],
    ['all files', (archive: JobArchive) => Promise.all([archive.erase(0), archive.erase(1)])],
  ])('a crash after %s leaves what the next attestor brings to the end', async (_, before) => {
    const folder = newFolder();
    const all = Array.from({ length: 300 }, (__, index) => whole(index));
    await write(archiveIn(folder), all, [40]);
    const died = archiveIn(folder);
    await mark(died, all, ERASED);
    await before(died);
    const next = archiveIn(folder);
    for await (const tile of next.erasures.tilesMarkedAfter(0)) await next.erase(tile);
    expect([...held(folder)].filter((index) => ERASED.includes(index))).toEqual([]);
    expect(held(folder).size).toBe(300 - ERASED.length);
  });

  test('gets nothing back that is erased: not from a slow writer, nor when its parts become one file, nor from a part that a crash left', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 300 }, (_, index) => whole(index));
    await write(archiveIn(folder), all.slice(0, 200), [40]);
    const archive = archiveIn(folder);
    await mark(archive, all, ERASED);
    await archive.erase(0);
    const older = newFolder();
    // Another attestor has read the records before, and writes them after.
    await write(archiveIn(older), all.slice(0, 200), [40]);
    await write(archiveIn(folder), all.slice(160, 200), [40]);
    await write(archiveIn(folder), all.slice(200), [40]);
    expect([...held(folder)].filter((index) => ERASED.includes(index))).toEqual([]);
    cpSync(join(older, 'archive', '000'), join(folder, 'archive', '000'), { recursive: true });
    expect([...held(folder)].filter((index) => ERASED.includes(index))).not.toEqual([]);
    await archive.erase(0);
    expect([...held(folder)].filter((index) => ERASED.includes(index))).toEqual([]);
    expect(held(folder).size).toBe(300 - ERASED.length);
  });

  wholeTest('of attestors that write and erase at once ends without what is erased, and with all else', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat({ max: 269 }), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 4 }),
        async (places, steps) => {
          const folder = newFolder();
          const all = Array.from({ length: 270 }, (_, index) => whole(index));
          await write(archiveIn(folder), all.slice(0, 250), steps);
          const eraser = async (mine: readonly number[]) => {
            const archive = archiveIn(folder);
            for (const place of mine) {
              await mark(archive, all, [place]);
              await archive.erase(Math.floor(place / 256));
            }
          };
          await Promise.all([
            write(archiveIn(folder), all.slice(250), steps),
            eraser(places.filter((_, at) => at % 2 === 0)),
            eraser(places.filter((_, at) => at % 2 === 1)),
          ]);
          const kept = all.map(({ index }) => index).filter((index) => !places.includes(index));
          expect([...held(folder)].toSorted((a, b) => a - b)).toEqual(kept);
          expect(await readAll(archiveIn(folder))).toHaveLength(270);
        },
      ),
      { numRuns: 3 },
    );
  });

  test('keeps a mark for as long as the entry is kept, says of an erasure when it was first asked for, and of nothing else', async () => {
    const archive = archiveIn(newFolder());
    const all = Array.from({ length: 300 }, (_, index) => whole(index));
    await write(archive, all, [100]);
    await mark(archive, all, [1, 280]);
    const [first = '', other = ''] = [all[1]?.job?.id, all[2]?.job?.id];
    const failed = newJobId('default', START);
    await archive.erasures.add([
      { id: first, place: 1, erasedMs: START + 9 },
      { id: failed, place: undefined, erasedMs: START + 7 },
    ]);
    expect(await archive.erasures.at(first, 1)).toBe(START);
    expect(await archive.erasures.at(failed, undefined)).toBe(START + 7);
    expect(await archive.erasures.at(other, 2)).toBeUndefined();
    const places: (number | undefined)[] = [];
    for await (const { place } of archive.erasures.createdAfter(START)) places.push(place);
    expect(places).toEqual([280, 1, undefined]);
    await archive.removeOld(START + 257_000);
    expect(await archive.erasures.at(first, 1)).toBeUndefined();
    await archive.erasures.removeDays(START + 2 * 86_400_000);
    expect(await archive.erasures.at(failed, undefined)).toBeUndefined();
    expect(await archive.erasures.at(all[280]?.job?.id ?? '', 280)).toBe(START);
  });

  test('lets go of files that a crash left unfinished, and of none that is being written', async () => {
    const folder = newFolder();
    const archive = archiveIn(folder);
    await write(archive, [entry(0)], [1]);
    const parts = join(folder, 'archive', '000', '000', '000', '000.p');
    for (const name of ['0-0.old.tmp', '0-0.new.tmp']) writeFileSync(join(parts, name), CANARY);
    utimesSync(join(parts, '0-0.old.tmp'), new Date(0), new Date(0));
    await archive.removeUnfinished(60_000);
    expect(readdirSync(parts).toSorted()).toEqual(['0-0', '0-0.new.tmp']);
  });

  test('is found although a crash left pieces of files', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 300 }, (_, index) => entry(index));
    await write(archiveIn(folder), all, [50]);
    const names = readdirSync(folder, { recursive: true }).map(String);
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
    // The whole tile was made, and its parts were not removed yet: it is written again with the same bytes.
    await archiveIn(folder).write('again', all.slice(250, 256));
    expect(await readAll(archiveIn(folder))).toEqual(all);
  });
});

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { JobArchive, type Archived } from './job-archive.ts';
import { newJobId } from './job-id.ts';
import { recordBytes } from './job-record.ts';

const root = mkdtempSync(join(tmpdir(), 'cs-archive-'));
const newFolder = () => mkdtempSync(join(root, 'a-'));
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

describe('the archive', () => {
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test('gives back what was written, whatever the checkpoints held, and finds every job by its id', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 6 }), async (steps) => {
        const archive = new JobArchive(newFolder());
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
    await Promise.all([write(new JobArchive(folder), all, [7, 40]), write(new JobArchive(folder), all, [31, 5])]);
    expect(await readAll(new JobArchive(folder))).toEqual(all);
  });

  test('takes no other entry in a place that is taken', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 20 }, (_, index) => entry(index));
    await write(new JobArchive(folder), all, [10]);
    const other = all.slice(10).map((item) => ({ ...item, entry: Buffer.from('other') }));
    await expect(new JobArchive(folder).write('fork', other)).rejects.toThrow('Entry 10');
    expect(await readAll(new JobArchive(folder))).toEqual(all);
  });

  test('lets go of whole files whose time is over, and of no other', async () => {
    const folder = newFolder();
    const archive = new JobArchive(folder);
    const all = Array.from({ length: 600 }, (_, index) => entry(index));
    await write(archive, all, [100]);
    expect(await archive.removeOld(START + 256_000)).toBe(1);
    expect(await readAll(archive, 256)).toEqual(all.slice(256));
    expect(await archive.find(all[0]?.job?.id ?? '')).toBeUndefined();
    expect(await archive.find(all[300]?.job?.id ?? '')).toEqual(all[300]?.job?.record);
  });

  test('is found although a crash left pieces of files', async () => {
    const folder = newFolder();
    const all = Array.from({ length: 300 }, (_, index) => entry(index));
    await write(new JobArchive(folder), all, [50]);
    const names = readdirSync(folder, { recursive: true }).map(String);
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
    // The whole tile was made, and its parts were not removed yet: it is written again with the same bytes.
    await new JobArchive(folder).write('again', all.slice(250, 256));
    expect(await readAll(new JobArchive(folder))).toEqual(all);
  });
});

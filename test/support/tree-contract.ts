import { expect, test } from '@jest/globals';
import type { FileTree } from '../../src/ground/blobs/file-tree.ts';
import { JobArchive, type Archived } from '../../src/core/jobs/job-archive.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { recordBytes } from '../../src/core/jobs/job-record.ts';
import { LogFiles } from '../../src/proof/tlog/log-files.ts';
import { LogTree } from '../../src/proof/tlog/log-tree.ts';
import { EMPTY_ROOT } from '../../src/proof/tlog/merkle.ts';

const START = 1_790_000_000_000;

/** What every tree of files holds to, be it a folder or a place in S3, and the log and its archive in it. */
export function treeContract(empty: () => FileTree): void {
  test('what was written is read, named and removed, in its folder and no other', async () => {
    const tree = empty();
    expect(await tree.names('')).toEqual([]);
    expect(await tree.read('a/b')).toBeUndefined();
    await tree.write(
      { name: 'a/b', bytes: 'first' },
      { name: 'a/c.d/e-1', bytes: Buffer.alloc(0) },
      { name: 'f', bytes: 'x' },
    );
    await tree.write({ name: 'a/b', bytes: 'second' });
    expect((await tree.read('a/b'))?.toString()).toBe('second');
    expect(await tree.read('a/c.d/e-1')).toEqual(Buffer.alloc(0));
    expect((await tree.names('')).toSorted()).toEqual(['a', 'f']);
    expect((await tree.names('a')).toSorted()).toEqual(['b', 'c.d']);
    expect((await tree.in('a').names('c.d')).toSorted()).toEqual(['e-1']);
    expect([await tree.isChangedAfter('a', START), await tree.isChangedAfter('a', Date.now() + 600_000)]).toEqual([
      true,
      false,
    ]);
    expect(await tree.isChangedAfter('none', 0)).toBe(false);
    await tree.remove('a/b', 'none', 'f');
    expect(await tree.names('')).toEqual(['a']);
    await tree.write({ name: 'a/b', bytes: 'third' });
    await tree.removeFolder('a/c.d');
    expect(await tree.names('a')).toEqual(['b']);
    expect(await tree.create({ name: 'a/b', bytes: 'other' }, { name: 'n/o', bytes: 'o' })).toEqual([
      'other',
      'created',
    ]);
    expect(await tree.create({ name: 'n/o', bytes: 'o' })).toEqual(['same']);
    await tree.removeFolder('none');
    await tree.removeUnfinished('a', 0);
    expect((await tree.in('a').read('b'))?.toString()).toBe('third');
  });

  test('a log in it grows, goes on where it was, proves what it held, and takes no other tile', async () => {
    const tree = empty();
    const files = new LogFiles(tree);
    const entries = Array.from({ length: 600 }, (_, index) => Buffer.from(`entry ${index}`));
    const first = await LogTree.load(files, 0, EMPTY_ROOT, []);
    await first.append(entries.slice(0, 300));
    const at300 = first.root();
    const again = await LogTree.load(files, 300, at300, entries.slice(256, 300));
    await again.append(entries.slice(300));
    expect(await again.rootAt(300)).toEqual(at300);
    expect((await again.consistency(300)).length).toBeGreaterThan(0);
    const cold = await LogTree.load(files, 600, again.root(), entries.slice(512));
    expect([await cold.rootAt(300), await cold.consistency(300)]).toEqual([at300, await again.consistency(300)]);
    expect(await cold.rootWith([], 300)).toEqual(at300);
    const other = { tile: { level: 0 as const, index: 0, width: 256 }, bytes: Buffer.alloc(256 * 32) };
    await expect(files.writeTiles([other])).rejects.toThrow('other bytes');
    await files.writeCheckpoint('a note');
    expect(await files.readCheckpoint()).toBe('a note');
  });

  test('an archive in it gives back what was written, finds jobs, erases, and lets go of what is old', async () => {
    const tree = empty();
    const archive = new JobArchive(tree);
    const all = Array.from({ length: 600 }, (_, index): Archived => {
      const createdMs = START + index * 1_000;
      const head = { state: 'done', index, endedMs: createdMs + 500, tenant: 'acme', model: 'noop' } as const;
      const record = recordBytes(head, Buffer.from(`body ${index}`));
      return { index, entry: Buffer.from(`entry ${index}`), job: { id: newJobId('default', createdMs), record } };
    });
    for (const [from, to] of [
      [0, 100],
      [100, 270],
      [270, 512],
      [512, 600],
    ] as const)
      await archive.write(`checkpoint ${to}`, all.slice(from, to));
    const other = new JobArchive(tree);
    const read: Archived[] = [];
    for await (const item of other.read(0, 1_000)) read.push(item);
    expect(read).toEqual(all);
    expect(await other.newestCheckpoint()).toBe('checkpoint 600');
    for (const index of [0, 99, 300, 599])
      expect(await other.find(all[index]?.job?.id ?? '')).toEqual(all[index]?.job?.record);
    await expect(other.write('fork', [{ index: 560, entry: Buffer.from('other'), job: undefined }])).rejects.toThrow(
      'Entry 560',
    );
    const [id = ''] = [all[599]?.job?.id];
    await other.erasures.add([{ id, place: 599, erasedMs: START }]);
    expect([await archive.erasures.at(id, 599), [...(await archive.erasures.ofTile(2)).keys()]]).toEqual([
      START,
      [599],
    ]);
    const marked: number[] = [];
    for await (const tile of archive.erasures.tilesMarkedAfter(START)) marked.push(tile);
    expect(marked).toEqual([2]);
    expect(await archive.removeOld(START + 300_000)).toBe(1);
    expect(await archive.find(all[0]?.job?.id ?? '')).toBeUndefined();
    expect(await archive.find(all[300]?.job?.id ?? '')).toEqual(all[300]?.job?.record);
  });
}

import { describe, expect, test } from '@jest/globals';
import { zipOf, type ZipPart } from '../../../test/support/zip.ts';
import { openZip, ZIP_LIMITS, type ZipLimits } from './zip-files.ts';

async function read(parts: readonly ZipPart[], limits: Partial<ZipLimits> = {}): Promise<Record<string, string>> {
  using zip = await openZip(zipOf(parts), { ...ZIP_LIMITS, ...limits });
  const texts: Record<string, string> = {};
  for (const file of zip.files) {
    const pieces = [];
    for await (const piece of file.open()) pieces.push(piece);
    texts[file.name] = Buffer.concat(pieces).toString();
  }
  return texts;
}
const part = (name: string, bytes = 'x', more: Partial<ZipPart> = {}): ZipPart => ({ name, bytes, ...more });

test('the files of a zip are what was put in', async () => {
  expect(await read([part('a.json', '[1]'), part('folder/', ''), part('folder/b.txt', 'two')])).toEqual({
    'a.json': '[1]',
    'folder/b.txt': 'two',
  });
});

describe('a zip is refused', () => {
  test.each([
    ['that leads out of a folder', [part('../x')]],
    ['that names the root', [part('/etc/passwd')]],
    ['with a name of another system', [part('C:\\x')]],
    ['with a backslash', [part('a\\..\\..\\x')]],
    ['with a name twice', [part('a'), part('a')]],
    ['with a link', [part('a', '/etc/passwd', { mode: 0o120777 })]],
    ['that is encrypted', [part('a', 'x', { flags: 0x801 })]],
    ['with a file longer than its directory says', [part('a', 'x'.repeat(1_000), { size: 10 })]],
    ['with a file shorter than its directory says', [part('a', 'x', { size: 10 })]],
  ])('%s', async (_, parts) => {
    await expect(read(parts)).rejects.toMatchObject({ code: 'import_refused' });
  });

  test('that inflates a thousandfold', async () => {
    const bomb = Buffer.alloc(64 * 1024 * 1024);
    await expect(read([{ name: 'bomb', bytes: bomb }])).rejects.toThrow('beyond all bounds');
  });

  test('whose files inflate to more than allowed in all, each within its bounds', async () => {
    const files = [1, 2, 3].map((at) => part(`${at}`, 'x'.repeat(400)));
    await expect(read(files, { maxBytes: 1_000 })).rejects.toThrow('beyond all bounds');
    expect(Object.keys(await read(files, { maxBytes: 1_200 }))).toHaveLength(3);
  });

  test('with more files than allowed', async () => {
    await expect(read([part('a'), part('b')], { maxFiles: 1 })).rejects.toThrow('more than 1 files');
  });

  test('that is none, or was cut off', async () => {
    await expect(openZip(Buffer.from('not a zip'))).rejects.toMatchObject({ code: 'import_refused' });
    await expect(openZip(zipOf([part('a')]).subarray(0, -5))).rejects.toMatchObject({ code: 'import_refused' });
  });
});

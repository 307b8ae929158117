import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { writeDurably } from './durable-file.ts';

const root = mkdtempSync(join(tmpdir(), 'cs-durable-'));
const newFolder = () => mkdtempSync(join(root, 'f-'));

describe('durable files', () => {
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test('are whole, in folders that are made for them, and leave no temporary file', async () => {
    const folder = newFolder();
    await writeDurably({ path: join(folder, 'a', 'b', 'one'), bytes: '1' }, { path: join(folder, 'two'), bytes: '2' });
    expect(readFileSync(join(folder, 'a', 'b', 'one'), 'utf8')).toBe('1');
    expect(readFileSync(join(folder, 'two'), 'utf8')).toBe('2');
    expect(readdirSync(folder, { recursive: true }).toSorted()).toEqual(['a', 'a/b', 'a/b/one', 'two']);
  });

  test('that many writers write at once hold what one of them wrote, and nothing mixed', async () => {
    const path = join(newFolder(), 'file');
    const contents = Array.from({ length: 20 }, (_, writer) => String.fromCharCode(97 + writer).repeat(50_000));
    await Promise.all(contents.map((bytes) => writeDurably({ path, bytes })));
    expect(contents).toContain(readFileSync(path, 'utf8'));
  });

  test('replace what stood there before', async () => {
    const path = join(newFolder(), 'file');
    await writeDurably({ path, bytes: 'a longer text' });
    await writeDurably({ path, bytes: 'short' });
    expect(readFileSync(path, 'utf8')).toBe('short');
  });
});

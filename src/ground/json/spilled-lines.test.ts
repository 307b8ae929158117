import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { SpilledLines } from './spilled-lines.ts';

test('lines of one word come back from one part, all of them, and nothing stays on disk', async () => {
  const lines = Array.from({ length: 30_000 }, (_, at) => `word${at % 1_000} ${at} ${'x'.repeat(100)}`);
  const found = new Map<string, number[]>();
  const root = mkdtempSync(join(tmpdir(), 'cs-spilled-'));
  {
    await using spilled = await SpilledLines.create(root);
    await spilled.add(lines.slice(0, 20_000));
    await spilled.add(lines.slice(20_000));
    for (const part of SpilledLines.parts) {
      for (const line of await spilled.read(part)) {
        const [word = '', at = ''] = line.split(' ');
        found.set(`${part} ${word}`, [...(found.get(`${part} ${word}`) ?? []), Number(at)]);
      }
    }
    expect(readdirSync(root)).toHaveLength(1);
  }
  expect(readdirSync(root)).toEqual([]);
  rmSync(root, { recursive: true });
  expect(found.size).toBe(1_000);
  for (const [word, all] of found) {
    const first = Number(/word(\d+)$/.exec(word)?.[1]);
    expect(all).toEqual(Array.from({ length: 30 }, (_, turn) => first + 1_000 * turn));
  }
});

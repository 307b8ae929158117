import { expect, test } from '@jest/globals';
import { ProgressBar } from './progress-bar.ts';

/** What is written while a clock goes from 0 to `seconds`, a step for each tenth of a second. */
function written(isTTY: boolean, total: number | undefined, seconds: number): string[] {
  const pieces: string[] = [];
  let now = 0;
  const bar = new ProgressBar('receipts', total, { isTTY, write: (piece: string) => pieces.push(piece) }, () => now);
  for (; now <= seconds * 1_000; now += 100) bar.at(now / 100);
  bar.end();
  return pieces;
}

test('says nothing of what takes less than two seconds', () => {
  for (const isTTY of [true, false]) expect(written(isTTY, 100, 1.9)).toEqual([]);
});

test('writes a plain line now and then where there is no terminal', () => {
  expect(written(false, 200, 12)).toEqual(['receipts: 20 of 200\n', 'receipts: 70 of 200\n', 'receipts: 120 of 200\n']);
  expect(written(false, undefined, 3)).toEqual(['receipts: 20\n']);
});

test('draws a bar on a terminal, and takes it away at the end', () => {
  const pieces = written(true, 40, 4);
  expect(pieces[0]).toBe(`\r\x1b[Kreceipts  ${'█'.repeat(12)}${'░'.repeat(12)}  20 of 40`);
  expect(pieces.at(-2)).toContain(`${'█'.repeat(24)}  40 of 40`);
  expect(pieces.at(-1)).toBe('\r\x1b[K');
});

test('counts what passes through, changes none of it, and ends with it', async () => {
  const pieces: string[] = [];
  let now = 0;
  const bar = new ProgressBar('bytes', 9, { isTTY: false, write: (piece: string) => pieces.push(piece) }, () => now);
  async function* coming() {
    for (const piece of ['abc', 'def', 'ghi']) {
      now += 2_000;
      yield await Promise.resolve(piece);
    }
  }
  const passed: string[] = [];
  for await (const piece of bar.through(coming(), ({ length }) => length)) passed.push(piece);
  expect([passed.join(''), pieces]).toEqual(['abcdefghi', ['bytes: 3 of 9\n']]);
});

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ledgerText, type LedgerRow } from './ledger-lines.ts';
import { LedgerEntry } from './ledger-entry.ts';

const ROW: LedgerRow = {
  job: 'job_1',
  entry: {
    kind: 'charge',
    at: '2026-11-26T12:00:00.000Z',
    amount: 17,
    currency: 'EUR',
    key: 'k',
    model: 'm',
    table: 'v1',
  },
};

async function textOf(pages: LedgerRow[][], format: 'jsonl' | 'csv'): Promise<string> {
  async function* all() {
    for (const page of pages) yield await Promise.resolve(page);
  }
  let text = '';
  for await (const piece of ledgerText(all(), format)) text += piece;
  return text;
}

/** The cells of CSV, as RFC 4180 reads them. */
function cellsOf(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    if (end === '\r\n') rows.push([]);
  }
  return rows.slice(0, -1);
}

test('every entry is one line of JSON and one row of CSV, whatever its texts are', async () => {
  const entry = fc.record({
    key: fc.string(),
    model: fc.string(),
    table: fc.string(),
    amount: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(entry, { maxLength: 3 }), { maxLength: 3 }), async (pages) => {
      const rows = pages.map((page) => page.map((change) => ({ ...ROW, entry: { ...ROW.entry, ...change } })));
      const all = rows.flat();
      const lines = (await textOf(rows, 'jsonl')).split('\n').filter((line) => line !== '');
      expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
        all.map((row) => ({ job: 'job_1', ...row.entry })),
      );
      const [head, ...cells] = cellsOf(await textOf(rows, 'csv'));
      expect(head).toEqual(['job', 'kind', 'at', 'amount', 'currency', 'key', 'model', 'table']);
      expect(cells.map((row) => row.length)).toEqual(all.map(() => 8));
      expect(cells.map((row) => Number(row[3]))).toEqual(all.map((row) => row.entry.amount));
      for (const cell of cells.flat()) expect(cell).not.toMatch(/^[=+\-@]/);
    }),
  );
  expect(LedgerEntry.safeParse(ROW.entry).success).toBe(true);
});

test('a ledger without entries is an empty file, and in CSV its head', async () => {
  expect(await textOf([[]], 'jsonl')).toBe('');
  expect(await textOf([], 'csv')).toBe('job,kind,at,amount,currency,key,model,table\r\n');
});

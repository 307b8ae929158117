import type { LedgerEntry } from './ledger-entry.ts';

export const FORMATS = ['jsonl', 'csv'] as const;
/** How a ledger is exported: JSON Lines, or CSV as RFC 4180 has it. */
export type Format = (typeof FORMATS)[number];

export const MEDIA_TYPES: Readonly<Record<Format, string>> = {
  jsonl: 'application/x-ndjson; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
};

const COLUMNS = ['job', 'kind', 'at', 'amount', 'currency', 'key', 'model', 'table'] as const;

/** A row of an exported ledger: the entry and the job that it is about. */
export interface LedgerRow {
  readonly job: string;
  readonly entry: LedgerEntry;
}

/**
 * The text of a ledger in pieces, one for each page, so that no more than a page is in memory. `amount` is in
 * millionths of the currency.
 */
export async function* ledgerText(pages: AsyncIterable<readonly LedgerRow[]>, format: Format): AsyncGenerator<string> {
  if (format === 'csv') yield `${COLUMNS.join(',')}\r\n`;
  for await (const page of pages) {
    const text = page.map((row) => (format === 'csv' ? csvLine(row) : jsonLine(row))).join('');
    if (text !== '') yield text;
  }
}

function jsonLine({ job, entry }: LedgerRow): string {
  return `${JSON.stringify({ job, ...entry })}\n`;
}

function csvLine({ job, entry }: LedgerRow): string {
  const row = { job, ...entry };
  return `${COLUMNS.map((column) => csvCell(String(row[column]))).join(',')}\r\n`;
}

/** A cell that a spreadsheet takes as text: quoted where it must be, and never as a formula. */
function csvCell(text: string): string {
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

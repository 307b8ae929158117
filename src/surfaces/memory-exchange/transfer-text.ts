import { sha256Hex } from '../../ground/blobs/sha256.ts';

/**
 * The text that assistants write when a person asks them for all they remember, as Claude and Gemini ask
 * people to paste it: `[date saved, if available] - memory content`, usually in one code block. The rules are
 * those of Portable Memory's adapter for such text (its conformance fixture `transfer`).
 */
export interface TransferEntry {
  /** From 1, in the text of the code blocks where there are some. */
  readonly line: number;
  /** The date as it was written, where one was. */
  readonly dateRaw: string | undefined;
  /** The day that it names, as YYYY-MM-DD; undefined where it is unknown. */
  readonly day: string | undefined;
  readonly section: string | undefined;
  readonly text: string;
}

export interface TransferText {
  readonly entries: readonly TransferEntry[];
  /** Lines that were read as headings, so that nobody misses a memory that looked like one. */
  readonly headings: readonly { readonly line: number; readonly text: string }[];
}

const BRACKETED = /^\[([^\]]{1,60})\]\s*[-–—:]\s*(.+)$/;
const BARE_DATE = /^(\d{4}-\d{2}-\d{2})\s*[-–—:]\s*(.+)$/;
const BULLET = /^(?:[-*•–—]|\d{1,3}[.)]|\(\d{1,3}\))\s+(.+)$/;

/** The entries of a pasted text, in its order. */
export function parseTransferText(text: string): TransferText {
  const lines = entryLines(text);
  const isMarked = lines.some((line) => markedEntry(line.trim()) !== undefined);
  return isMarked ? markedEntries(lines) : paragraphs(lines);
}

/** The id that Portable Memory gives such an entry: of its day and its words. */
export function transferId({ day, text }: Pick<TransferEntry, 'day' | 'text'>): string {
  return `tx_${sha256Hex(`${day ?? ''}\n${text}`).slice(0, 24)}`;
}

/** Only what stands in code blocks counts, where there are some: the rest is what the assistant said. */
function entryLines(text: string): string[] {
  const all = text.replace(/^\ufeff/, '').split(/\r?\n/);
  if (!all.some((line) => line.trimStart().startsWith('```'))) return all;
  let isFenced = false;
  return all.filter((line) => {
    if (!line.trimStart().startsWith('```')) return isFenced;
    isFenced = !isFenced;
    return false;
  });
}

interface Marked {
  readonly dateRaw: string | undefined;
  readonly text: string;
}

function markedEntry(line: string): Marked | undefined {
  const bulleted = BULLET.exec(line)?.[1];
  const inner = bulleted ?? line;
  const dated = BRACKETED.exec(inner) ?? BARE_DATE.exec(inner);
  if (dated?.[1] !== undefined && dated[2] !== undefined) return { dateRaw: dated[1].trim(), text: dated[2].trim() };
  return bulleted === undefined ? undefined : { dateRaw: undefined, text: bulleted.trim() };
}

function markedEntries(lines: readonly string[]): TransferText {
  const entries: TransferEntry[] = [];
  const headings: { line: number; text: string }[] = [];
  let section: string | undefined;
  let isOpen = false;
  for (const [at, raw] of lines.entries()) {
    const text = raw.trim();
    const heading = headingOf(text);
    if (text === '') {
      isOpen = false;
    } else if (isOpen && /^\s/.test(raw) && markedEntry(text) === undefined) {
      const last = entries.pop();
      if (last !== undefined) entries.push({ ...last, text: `${last.text}\n${text}` });
    } else if (heading !== undefined) {
      section = heading;
      headings.push({ line: at + 1, text });
      isOpen = false;
    } else {
      const { dateRaw, text: said } = markedEntry(text) ?? { dateRaw: undefined, text };
      entries.push({ line: at + 1, dateRaw, day: dayOf(dateRaw), section, text: said });
      isOpen = true;
    }
  }
  return { entries, headings };
}

/** A text without any mark: each paragraph is an entry. */
function paragraphs(lines: readonly string[]): TransferText {
  const entries: TransferEntry[] = [];
  let begin: number | undefined;
  for (let at = 0; at <= lines.length; at += 1) {
    const isBlank = (lines[at] ?? '').trim() === '';
    if (!isBlank) begin ??= at;
    else if (begin !== undefined) {
      const text = lines
        .slice(begin, at)
        .map((line) => line.trim())
        .join('\n');
      entries.push({ line: begin + 1, dateRaw: undefined, day: undefined, section: undefined, text });
      begin = undefined;
    }
  }
  return { entries, headings: [] };
}

function headingOf(line: string): string | undefined {
  const hashed = /^#{1,6}\s*(.+?)\s*#*$/.exec(line)?.[1] ?? /^\*\*(.+?)\*\*:?$/.exec(line)?.[1];
  if (hashed !== undefined) return hashed.replace(/:$/, '').trim();
  if (markedEntry(line) !== undefined) return undefined;
  const words = line.split(/\s+/);
  if (line.endsWith(':') && words.length <= 8) return line.slice(0, -1).trim();
  const letters = line.replace(/[^\p{L}]/gu, '');
  const isCapitals = letters.length >= 3 && letters === letters.toUpperCase() && letters !== letters.toLowerCase();
  return isCapitals && words.length <= 6 ? line : undefined;
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** The day that a written date names, the first of a month or year that is named without one. */
function dayOf(raw: string | undefined): string | undefined {
  if (raw === undefined) return undefined;
  const [, year, month = '01', day = '01'] = /^(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?(?:[T ].*)?$/.exec(raw) ?? [];
  if (year !== undefined) return realDay(year, Number(month), Number(day));
  const words = raw.toLowerCase().replace(/[,.]/g, ' ').trim().split(/\s+/);
  const named = words.findIndex((word) => MONTHS.some((name) => word.startsWith(name)));
  const numbers = words.filter((_, at) => at !== named);
  const written = numbers.find((word) => /^\d{4}$/.test(word));
  const dayWord = numbers.find((word) => /^\d{1,2}(?:st|nd|rd|th)?$/.test(word));
  if (named < 0 || written === undefined || words.length !== (dayWord === undefined ? 2 : 3)) return undefined;
  const number = MONTHS.findIndex((name) => words[named]?.startsWith(name)) + 1;
  return realDay(written, number, dayWord === undefined ? 1 : Number.parseInt(dayWord, 10));
}

function realDay(year: string, month: number, day: number): string | undefined {
  const text = `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
  const time = new Date(`${text}T00:00:00.000Z`);
  return Number.isNaN(time.getTime()) || !time.toISOString().startsWith(text) ? undefined : text;
}

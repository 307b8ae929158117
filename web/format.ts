/** How the dashboard writes numbers, times and names. Times are in the zone of the reader. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration in ms, as `147 ms`, `3.1 s`, `4 min 12 s`, `2 h 05 min` or `3 d 4 h`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '–';
  if (ms < SECOND - 0.5) return `${Math.round(ms)} ms`;
  if (ms < 59.95 * SECOND) return `${(ms / SECOND).toFixed(1)} s`;
  const whole = Math.round(ms / SECOND) * SECOND;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${Math.round((whole % MINUTE) / SECOND)} s`;
  const minutes = Math.round(ms / MINUTE) * MINUTE;
  if (minutes < DAY)
    return `${Math.floor(minutes / HOUR)} h ${String(Math.round((minutes % HOUR) / MINUTE)).padStart(2, '0')} min`;
  const hours = Math.round(ms / HOUR) * HOUR;
  return `${Math.floor(hours / DAY)} d ${Math.round((hours % DAY) / HOUR)} h`;
}

/** A whole number with every digit, as `148,213,907`. */
export const exact = (value: number): string => Math.round(value).toLocaleString('en-US');

/** A whole number: all of it below a million, as `9,214`, and beyond it as `148.2 M`. */
export function count(value: number): string {
  if (value < 999_950) return exact(value);
  return value < 999_950_000 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(1)} G`;
}

/** So many jobs in words: "1 job", "148.2 M jobs"; `said` is the number as it is shown. */
export function jobs(value: number, said = count(value)): string {
  return `${said} ${value === 1 ? 'job' : 'jobs'}`;
}

/** A rate in jobs a second: with a decimal where it is small. */
export const rate = (value: number): string => (value === 0 || value >= 10 ? count(value) : value.toFixed(1));

/** Bytes, as `9,412 bytes` or `11.1 GB`. */
export function bytes(value: number): string {
  if (value < 10_000) return `${exact(value)} bytes`;
  const units = ['KB', 'MB', 'GB', 'TB'];
  let size = value / 1_000;
  let at = 0;
  for (; size >= 999.95 && at < units.length - 1; at += 1) size /= 1_000;
  return `${size.toFixed(1)} ${units[at] ?? ''}`;
}

/** Millionths of a currency, always with six places. */
export const money = (millionths: number, currency: string | null): string =>
  `${currency === 'EUR' ? '€' : currency === 'USD' ? '$' : `${currency ?? ''} `}${(millionths / 1e6).toFixed(6)}`;

const two = (value: number) => String(value).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A moment: `14:03:22` today, `24 Nov, 09:12` this year, `2025-12-31` before. */
export function moment(at: string | number | Date, now: Date = new Date()): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return '–';
  if (date.toDateString() === now.toDateString())
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (date.getFullYear() === now.getFullYear())
    return `${date.getDate()} ${MONTHS[date.getMonth()] ?? ''}, ${two(date.getHours())}:${two(date.getMinutes())}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** An id that is long, by its begin and its end. */
export function shortId(id: string): string {
  return id.length <= 17 ? id : `${id.slice(0, id.indexOf('_') + 5)}…${id.slice(-6)}`;
}

const MARKS: Readonly<Record<string, string>> = {
  '\u200e': '⟨LRM⟩',
  '\u200f': '⟨RLM⟩',
  '\u061c': '⟨ALM⟩',
  '\u202a': '⟨LRE⟩',
  '\u202b': '⟨RLE⟩',
  '\u202c': '⟨PDF⟩',
  '\u202d': '⟨LRO⟩',
  '\u202e': '⟨RLO⟩',
  '\u2066': '⟨LRI⟩',
  '\u2067': '⟨RLI⟩',
  '\u2068': '⟨FSI⟩',
  '\u2069': '⟨PDI⟩',
};
/** Longer text is cut where it is shown. */
const MOST_CHARACTERS = 4_000;

/**
 * Text of strangers as it can be shown: control characters as symbols, marks of direction by name, and what
 * is too long cut, with how much is left.
 */
export function visible(text: string, most = MOST_CHARACTERS): { readonly text: string; readonly more: number } {
  const shown = text
    .slice(0, most)
    // A pair that the cut has torn would be drawn as a question mark.
    .replace(/[\ud800-\udbff]$/, '')
    .replace(/[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g, (mark) => MARKS[mark] ?? '')
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)))
    .replace(/\u007f/g, '␡')
    .replace(/[\u0080-\u009f]/g, '␦');
  return { text: shown, more: Math.max(0, text.length - most) };
}

/** The same on one line. */
export const visibleLine = (text: string, most = 200): string => {
  const { text: shown, more } = visible(text, most);
  return `${shown.replace(/[\t\n\u2028\u2029]+/g, ' ')}${more > 0 ? ' …' : ''}`;
};

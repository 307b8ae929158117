/**
 * JSON that came from outside, read strictly: bounded depth, no duplicate member, no `__proto__`.
 *
 * JSON.parse silently keeps the last of two members with one name. Two programs that disagree about which one
 * counts would disagree about what was signed. The scan below runs before JSON.parse and knows only as much
 * of the grammar as it needs, because JSON.parse refuses what is malformed.
 */
export class JsonRefused extends Error {
  override readonly name = 'JsonRefused';
}

export interface JsonLimits {
  readonly maxDepth: number;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes UTF-8; throws JsonRefused where the bytes are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new JsonRefused('The text is not valid UTF-8.');
  }
}

/** The value of a JSON text. Throws JsonRefused with one sentence that says what is wrong. */
export function parseStrictJson(text: string, limits: JsonLimits): unknown {
  scan(text, limits.maxDepth);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new JsonRefused(
      `The text is not valid JSON: ${error instanceof Error ? error.message.slice(0, 120) : 'unknown error'}.`,
    );
  }
}

/**
 * The value of a JSON text that must be written exactly as JSON.stringify writes it: no white space, shortest
 * numbers, no needless escapes. Each value then has exactly one text, and every changed byte is noticed.
 * Throws JsonRefused.
 */
export function parseCanonicalJson(text: string, limits: JsonLimits): unknown {
  if (deepest(text) > limits.maxDepth)
    throw new JsonRefused(`The JSON is nested deeper than ${limits.maxDepth} levels.`);
  // Inside a string its quotes would be escaped, so this is a member.
  if (text.includes('"__proto__":')) throw new JsonRefused('The member name "__proto__" is not accepted.');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JsonRefused('The text is not valid JSON.');
  }
  // Of two members with one name JSON.parse keeps one, so that the text of the value is a different one.
  if (JSON.stringify(value) !== text) throw new JsonRefused('The text is not compact JSON as this format requires.');
  return value;
}

/**
 * What `read` makes of a JSON text, where that is written as the text is: a schema puts members in its own
 * order, so that each value has exactly one text. Throws JsonRefused, and what `read` throws.
 */
export function parseOrderedJson<Value>(text: string, read: (value: unknown) => Value, limits: JsonLimits): Value {
  const value = read(parseCanonicalJson(text, limits));
  if (JSON.stringify(value) !== text) throw new JsonRefused('The members do not stand in the order of this format.');
  return value;
}

/** How deep the text is nested; brackets inside strings do not count. */
function deepest(text: string): number {
  let depth = 0;
  let most = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) at = endOfString(text, at);
    else if (char === 0x7b || char === 0x5b) most = Math.max(most, (depth += 1));
    else if (char === 0x7d || char === 0x5d) depth -= 1;
  }
  return most;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Walks over the text once, with one set of member names for each open object. */
function scan(text: string, maxDepth: number): void {
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      const end = endOfString(text, at);
      const names = open.at(-1);
      if (names && isMemberName(text, end)) remember(names, text.slice(at, end + 1));
      at = end;
    } else if (char === 0x7b || char === 0x5b) {
      if (open.length >= maxDepth) throw new JsonRefused(`The JSON is nested deeper than ${maxDepth} levels.`);
      open.push(char === 0x7b ? new Set() : null);
    } else if (char === 0x7d || char === 0x5d) {
      open.pop();
    }
  }
}

function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0) return at;
  }
  throw new JsonRefused('The text is not valid JSON: a string has no end.');
}

function isMemberName(text: string, endQuote: number): boolean {
  for (let at = endQuote + 1; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 0x3a) return true;
    if (char !== 0x20 && char !== 0x09 && char !== 0x0a && char !== 0x0d) return false;
  }
  return false;
}

function remember(names: Set<string>, quoted: string): void {
  let name: unknown;
  try {
    name = quoted.includes('\\') ? JSON.parse(quoted) : quoted.slice(1, -1);
  } catch {
    throw new JsonRefused('The text is not valid JSON: a member name is malformed.');
  }
  if (typeof name !== 'string') throw new JsonRefused('The text is not valid JSON: a member name is malformed.');
  if (name === '__proto__') throw new JsonRefused('The member name "__proto__" is not accepted.');
  if (names.has(name)) throw new JsonRefused(`The member "${name.slice(0, 60)}" stands twice in one object.`);
  names.add(name);
}

import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { openZip } from '../../ground/archive/zip-files.ts';
import { byteLines, LineTooLong } from '../../ground/json/byte-lines.ts';
import { ElementsRefused, jsonElements } from '../../ground/json/json-elements.ts';
import { decodeUtf8, JsonRefused, parseStrictJson } from '../../ground/json/strict-json.ts';
import { chatgptItems, isChatgptConversation } from './chatgpt.ts';
import { claudeItems, claudeMemoryItems, isClaudeConversation, isClaudeMemories } from './claude.ts';
import { itemsOf, labelOf, type ImportFile, type ImportItem } from './imported.ts';
import { headingsOf, markdownMemories } from './markdown.ts';
import { isPlainMemory, PlainMemories } from './mem0.ts';
import { parseTransferText } from './transfer-text.ts';

const ELEMENT_LIMITS = { maxElement: 32 * 1024 * 1024, maxDepth: 64 };
const MAX_LINE_BYTES = 4 * 1024 * 1024;
const MAX_TEXT_BYTES = 64 * 1024 * 1024;
const MAX_ZIP_DEPTH = 1;
const MAX_NESTED_ZIP_BYTES = 512 * 1024 * 1024;

export interface ImportOptions {
  /** The user of a Mem0 export whose memories are meant; by default the first one that it names. */
  readonly user?: string | undefined;
}

/**
 * What the files say, item by item and a bounded part at a time. The form of each file follows from its name
 * and its content: JSON elements are told apart by their members, so that the export of one product is never
 * read as that of another. Zips are looked into, one level deep.
 */
export async function* importItems(
  files: Iterable<ImportFile & { readonly path?: string }>,
  { user }: ImportOptions = {},
): AsyncGenerator<ImportItem> {
  const plain = new PlainMemories(user);
  for (const file of files)
    if (isZipName(file.name) && file.path !== undefined) yield* zipItems(file.path, file.name, plain, 0);
    else yield* fileItems(file, plain);
}

async function* fileItems(file: ImportFile, plain: PlainMemories): AsyncGenerator<ImportItem> {
  const name = file.name.split('/').at(-1)?.toLowerCase() ?? '';
  try {
    if (name.endsWith('.json')) yield* jsonItems(file, plain);
    else if (/\.(?:jsonl|ndjson)$/.test(name)) yield* lineItems(file, plain);
    else if (/\.(?:md|markdown)$/.test(name)) yield* markdownItems(file);
    else if (/\.(?:txt|text)$/.test(name)) yield* transferItems(file);
    else yield { kind: 'skipped', reason: 'file of another kind', where: file.name };
  } catch (error) {
    if (!(error instanceof ElementsRefused || error instanceof JsonRefused || error instanceof LineTooLong))
      throw error;
    yield { kind: 'fault', where: file.name, why: error.message };
  }
}

/** The files of a zip, and of the zips in it. Throws CodedError `import_refused`. */
async function* zipItems(
  from: string | Buffer,
  name: string,
  plain: PlainMemories,
  depth: number,
): AsyncGenerator<ImportItem> {
  using zip = await openZip(from);
  for (const file of zip.files) {
    const inner = { name: `${name}/${file.name}`, open: () => file.open() };
    const isZip = isZipName(file.name);
    if (isZip && depth < MAX_ZIP_DEPTH)
      yield* zipItems(await wholeOf(inner, MAX_NESTED_ZIP_BYTES), inner.name, plain, depth + 1);
    else yield* fileItems(inner, plain);
  }
}

/** A file of this machine to import from. */
export function localFile(path: string): ImportFile & { readonly path: string } {
  return { name: basename(path), path, open: () => createReadStream(path) };
}

const isZipName = (name: string) => /\.zip$/i.test(name);

async function* jsonItems(file: ImportFile, plain: PlainMemories): AsyncGenerator<ImportItem> {
  let number = 0;
  for await (const { member, text, isRest } of jsonElements(file.open(), ELEMENT_LIMITS)) {
    const items = valueItems(parsed(text), `${file.name}, ${member ?? 'element'} ${number + 1}`, plain);
    // What stands beside a list, such as the number of its pages, is nothing of its own.
    const isBeside = isRest && number > 0;
    number += 1;
    for (const item of items) if (!isBeside || item.kind === 'memory') yield item;
  }
}

async function* lineItems(file: ImportFile, plain: PlainMemories): AsyncGenerator<ImportItem> {
  let number = 0;
  for await (const { bytes } of byteLines(file.open(), MAX_LINE_BYTES)) {
    number += 1;
    const where = `${file.name}, line ${number}`;
    const text = textIn(bytes);
    if (text === undefined) yield { kind: 'fault', where, why: 'it is not valid UTF-8' };
    else if (text.trim() !== '') yield* valueItems(parsed(text), where, plain);
  }
}

function textIn(bytes: Uint8Array): string | undefined {
  try {
    return decodeUtf8(bytes);
  } catch {
    return undefined;
  }
}

function parsed(text: string): { value: unknown } | { refused: string } {
  try {
    return { value: parseStrictJson(text, ELEMENT_LIMITS) };
  } catch (error) {
    if (error instanceof JsonRefused) return { refused: error.message };
    throw error;
  }
}

/** What one JSON value says, by the members that it has. */
function* valueItems(
  read: { value: unknown } | { refused: string },
  where: string,
  plain: PlainMemories,
): Generator<ImportItem> {
  if ('refused' in read) {
    yield { kind: 'fault', where, why: read.refused };
    return;
  }
  const { value } = read;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    yield { kind: 'fault', where, why: 'it is no object' };
  else if (isChatgptConversation(value)) yield* chatgptItems(value, where);
  else if (isClaudeConversation(value)) yield* claudeItems(value, where);
  else if (isClaudeMemories(value)) yield* claudeMemoryItems(value, where);
  else if (isPlainMemory(value)) yield* plain.items(value, where);
  else {
    const names = Object.keys(value)
      .slice(0, 8)
      .map((name) => name.slice(0, 40));
    yield { kind: 'skipped', reason: `of no known form (${names.join(', ')})`, where };
  }
}

async function* markdownItems(file: ImportFile): AsyncGenerator<ImportItem> {
  const text = decodeUtf8(await wholeOf(file, MAX_TEXT_BYTES));
  for (const { line, section, text: said } of markdownMemories(text))
    yield* itemsOf({ text: said, from: 'Markdown', category: labelOf(section) }, `${file.name}, line ${line}`);
  for (let at = headingsOf(text); at > 0; at -= 1)
    yield { kind: 'skipped', reason: 'read as a heading', where: file.name };
}

async function* transferItems(file: ImportFile): AsyncGenerator<ImportItem> {
  const { entries, headings } = parseTransferText(decodeUtf8(await wholeOf(file, MAX_TEXT_BYTES)));
  const known = new Set<string>();
  for (const { line, text, day, dateRaw, section } of entries) {
    const where = `${file.name}, line ${line}`;
    const key = `${day ?? ''}\n${text}`;
    if (known.has(key)) {
      yield { kind: 'skipped', reason: 'said twice', where };
      continue;
    }
    known.add(key);
    yield* itemsOf(
      {
        text,
        from: 'pasted text',
        category: labelOf(section),
        valid_from: day === undefined ? null : `${day}T00:00:00.000Z`,
        metadata: dateRaw === undefined ? {} : { date: dateRaw },
      },
      where,
    );
  }
  for (const { line } of headings)
    yield { kind: 'skipped', reason: 'read as a heading', where: `${file.name}, line ${line}` };
}

async function wholeOf(file: ImportFile, maxBytes: number): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of file.open()) {
    length += piece.length;
    if (length > maxBytes) throw new CodedError('import_refused', `${file.name} is longer than ${maxBytes} bytes.`);
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

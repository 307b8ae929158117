import { createReadStream, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { anyRecords, bundleOf, sourceOf } from '../../../test/support/memories.ts';
import { describeVectors, VECTORS } from '../../../test/support/vectors.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { readBundle } from '../../proof/memory/bundle-reader.ts';
import { entryLine } from '../../proof/memory/entry.ts';
import type { ImportFile, ImportItem } from './imported.ts';
import { writeMem } from './mem-export.ts';
import { memCanonical } from './mem-format.ts';
import { memItems, openMem } from './mem-import.ts';
import { parseTransferText, transferId, type TransferEntry } from './transfer-text.ts';

const folder = mkdtempSync(join(tmpdir(), 'mem-'));
afterAll(() => rmSync(folder, { recursive: true }));

const filesIn = (path: string): ImportFile[] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .map((file) => ({ name: relative(path, file), open: () => createReadStream(file) }));

async function itemsOf(files: readonly ImportFile[]): Promise<ImportItem[]> {
  const items = [];
  for await (const item of memItems(await openMem(files))) items.push(item);
  return items;
}

let written = 0;
async function writtenMem(records: Parameters<typeof sourceOf>[0], receipts: readonly string[] = []) {
  const path = join(folder, `${(written += 1)}.mem`);
  const manifest = await writeMem(readBundle([await bundleOf(sourceOf(records, receipts))]), path);
  return { path, manifest };
}

describe('a .mem bundle that we write', () => {
  test('brings back every entry byte for byte, and what was taken away stays away', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords(), async (records) => {
        const { path } = await writtenMem(records);
        const items = await itemsOf(filesIn(path));
        const entries = items.flatMap((item) => (item.kind === 'entry' ? [entryLine(item.entry)] : []));
        const buried = items.flatMap((item) => (item.kind === 'tombstone' ? [item.tombstone.id] : []));
        expect(entries.sort()).toEqual(records.flatMap((one) => ('entry' in one ? [entryLine(one.entry)] : [])).sort());
        expect(buried.sort()).toEqual(records.flatMap((one) => ('entry' in one ? [] : [one.tombstone.id])).sort());
        expect(items.filter(({ kind }) => kind === 'fault')).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  test('with any byte of its files changed is refused', async () => {
    const [records = []] = fc.sample(
      anyRecords().filter((all) => all.length > 1),
      1,
    );
    const { path } = await writtenMem(records, ['a receipt']);
    for (const { name } of filesIn(path).filter(({ name: one }) => one !== 'manifest.json')) {
      const file = join(path, name);
      const bytes = readFileSync(file);
      const changed = Buffer.from(bytes);
      const at = Math.floor(bytes.length / 2);
      changed.writeUInt8((bytes[at] ?? 0) ^ 1, at);
      writeFileSync(file, changed);
      await expect(openMem(filesIn(path))).rejects.toMatchObject({ code: 'bundle_refused' });
      writeFileSync(file, bytes);
    }
    writeFileSync(join(path, 'items', 'more.jsonl'), '{}\n');
    await expect(openMem(filesIn(path))).rejects.toThrow('does not list');
  });
});

const memVectors = existsSync(join(VECTORS, 'mem')) ? describeVectors : describe.skip;
if (!existsSync(join(VECTORS, 'mem')))
  process.stderr.write(`SKIPPED: there are no conformance vectors of .mem at ${join(VECTORS, 'mem')}\n`);
const mem = (...path: string[]) => join(VECTORS, 'mem', ...path);

memVectors('the conformance vectors of .mem', () => {
  test('bundles of its versions 1.0 and 1.1 are whole, and are told whose signature they bear', async () => {
    const signed = await openMem(filesIn(mem('signed.mem')));
    expect(signed.signedBy).toBe('03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8');
    const sample = await openMem(
      filesIn(mem('sample-1.1.mem'))
        .filter(({ name }) => name !== 'items/episode.jsonl')
        .concat(episodes()),
    );
    expect(sample.manifest.bundleDigest).toBe('d9b8b8899dec2e16182a36cd377fe786cddae4b4e12b16c537b218c64340a6fd');
    expect(await itemsOf(filesIn(mem('signed.mem')))).toMatchObject([
      { kind: 'skipped', reason: 'record of the kind entity' },
      { kind: 'memory', memory: { text: 'Signed fixture episode.', reference: 'ep_0001' } },
      { kind: 'memory', memory: { text: 'Second episode.' } },
    ]);
  });

  test('a signature of another manifest is refused', async () => {
    const files = filesIn(mem('signed.mem')).map((file) => {
      if (file.name !== 'manifest.json') return file;
      const text = readFileSync(mem('signed.mem', file.name), 'utf8').replace('2026-07-02', '2026-07-03');
      return { name: file.name, open: () => pieces(text) };
    });
    await expect(openMem(files)).rejects.toThrow('signature');
  });

  test('pasted text gives the episodes that were published, byte for byte in their canonical form', () => {
    expect(sha256Hex(episodeText())).toBe('663704e69bdaa1d9a4b697c3efa99ebf3a44a695c105988a745915b5f725b92f');
  });
});

async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield Buffer.from(text);
}

/** The file of episodes of `sample-1.1.mem`, which its makers made of the fixture `transfer`. */
const episodes = (): ImportFile => ({ name: 'items/episode.jsonl', open: () => pieces(episodeText()) });

const NOW = '2023-11-14T22:13:20Z';
const CONTEXTS: Readonly<Record<string, string>> = {
  'Communication preferences': 'ctx_comms',
  INSTRUCTIONS: 'ctx_instructions',
};

function episodeText(): string {
  const { entries } = parseTransferText(readFileSync(mem('transfer', 'sample-export.txt'), 'utf8'));
  const lines = new Map(entries.toReversed().map((entry) => [transferId(entry), memCanonical(episodeOf(entry))]));
  return [...lines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, line]) => `${line}\n`)
    .join('');
}

/** An entry as the fixture's makers keep it, with what their store adds. */
function episodeOf(entry: TransferEntry): object {
  const { section, dateRaw, line, text, day } = entry;
  const at = day === undefined ? NOW : `${day}T00:00:00Z`;
  return {
    ...{ id: transferId(entry), details: text, summary: text.split('\n')[0], eventTime: at, mentionTime: at },
    ...{ ingestionTime: NOW, categories: section === undefined ? [] : [section], contextID: CONTEXTS[section ?? ''] },
    metadata: {
      transfer_line: String(line),
      transfer_source: 'chatgpt',
      transfer_date_raw: dateRaw,
      transfer_section: section,
    },
    ...{ accessCount: 0, actors: [], confidence: 0.7, extractionState: 'done', importance: 0.5 },
    ...{ lifecycleState: 'HOT', pinned: false, sensitivity: 'low', sourceType: 'note', vaultRefs: [] },
  };
}

describe('the canonical JSON of .mem', () => {
  test.each([
    [
      'whole numbers',
      { a: 3, b: -0, c: 0.1 + 0.2, d: 8e15, e: 9_007_199_254_740_993n },
      '{"a":3,"b":0,"c":0.30000000000000004,"d":8000000000000000,"e":9007199254740993}',
    ],
    ['names that are numbers', { b: 1, B: 2, 10: 3, 9: 4 }, '{"10":3,"9":4,"B":2,"b":1}'],
    ['names by code points, not by halves of them', { '\u{1f600}': 1, '\uffff': 2 }, '{"\uffff":2,"\u{1f600}":1}'],
    ['texts', { s: 'a/b\t\u0001"\\é😀' }, '{"s":"a/b\\t\\u0001\\"\\\\é😀"}'],
    ['what is absent', { a: undefined, b: null, c: [], d: {} }, '{"b":null,"c":[],"d":{}}'],
  ])('writes %s', (_, value, text) => {
    expect(memCanonical(value)).toBe(text);
  });
});

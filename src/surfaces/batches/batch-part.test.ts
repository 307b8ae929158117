import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FolderBlobs } from '../../ground/blobs/folder-blobs.ts';
import { leafHash } from '../../proof/tlog/merkle.ts';
import { StoredLine, readPart, storeLine, writePart, type LineRecord } from './batch-part.ts';
import type { LineResult } from './line-result.ts';

const RESULTS: LineResult[] = [
  { isError: false, leaves: [Buffer.from('one'), Buffer.from('two')], usage: [3, 5], line: { custom_id: 'a' } },
  { isError: true, leaves: [], usage: [0, 0], line: { custom_id: 'b\n"' } },
];

let folder: string;
let blobs: FolderBlobs;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-part-'));
  blobs = new FolderBlobs(folder);
});
afterEach(() => rmSync(folder, { recursive: true }));

const stored = (results: readonly LineResult[]): Promise<LineRecord[]> =>
  Promise.all(results.map((result, at) => storeLine(blobs, result, `line ${at}`)));

async function linesOf(sha256: string): Promise<unknown[]> {
  const pieces: Buffer[] = [];
  for await (const piece of blobs.read(sha256)) pieces.push(piece);
  const lines = Buffer.concat(pieces).toString('utf8').trimEnd().split('\n');
  return lines.map((line) => StoredLine.parse(JSON.parse(line)));
}

describe('a part of a batch', () => {
  test('keeps each line with the hashes of its leaves, counts and tokens, and is one blob however often it is written', async () => {
    const part = await writePart(blobs, await stored(RESULTS));
    expect(part).toMatchObject({ completed: 1, failed: 1, usage: [3, 5] });
    expect(await writePart(blobs, await stored(RESULTS))).toEqual(part);
    expect(readPart(JSON.stringify(part))).toEqual(part);
    expect(await linesOf(part.sha256)).toEqual([
      [false, ['one', 'two'].map((leaf) => leafHash(Buffer.from(leaf)).toString('hex')), { custom_id: 'a' }],
      [true, [], { custom_id: 'b\n"' }],
    ]);
  });

  test('keeps short lines in the record and long ones on the disk, whatever their length, and in their order', async () => {
    const answers = [1, 2_000, 2_100, 500_000].map((length, at): LineResult => {
      const line = { custom_id: `line ${at}`, text: '\u00e9'.repeat(length) };
      return { isError: false, leaves: [], usage: [1, 1], line };
    });
    const records = await stored(answers);
    expect(records.map(({ text }) => (text?.length ?? 0) < 2_100)).toEqual([true, true, true, true]);
    expect(records.map(({ sha256 }) => sha256 !== undefined)).toEqual([false, true, true, true]);
    expect(await linesOf((await writePart(blobs, records)).sha256)).toEqual(
      answers.map(({ line }) => [false, [], line]),
    );
  });

  test('says of a line whose blob is gone that its answer is lost, and keeps the others', async () => {
    const long = (custom_id: string): LineResult => {
      return { isError: false, leaves: [], usage: [1, 1], line: { custom_id, text: custom_id.repeat(5_000) } };
    };
    const records = await stored([long('a'), long('b')]);
    const gone = records[0]?.sha256 ?? '';
    rmSync(join(folder, gone.slice(0, 2), gone));
    const part = await writePart(blobs, records);
    expect(part).toMatchObject({ completed: 1, failed: 1 });
    const [first, second] = await linesOf(part.sha256);
    expect(first).toMatchObject([true, [], { custom_id: 'line 0', error: { code: 'answer_lost' } }]);
    expect(second).toMatchObject([false, [], { custom_id: 'b' }]);
  });

  test('whose record is damaged is not read', () => {
    expect(() => readPart('{"sha256":"x","completed":1}')).toThrow();
    expect(() => readPart('')).toThrow();
  });
});

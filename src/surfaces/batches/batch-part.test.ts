import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { BlobStore } from '../../ground/blobs/blob-store.ts';
import { leafHash } from '../../proof/tlog/merkle.ts';
import { StoredLine, readPart, writePart } from './batch-part.ts';
import type { LineResult } from './line-result.ts';

const RESULTS: LineResult[] = [
  { isError: false, leaves: [Buffer.from('one'), Buffer.from('two')], usage: [3, 5], line: { custom_id: 'a' } },
  { isError: true, leaves: [], usage: [0, 0], line: { custom_id: 'b\n"' } },
];

describe('a part of a batch', () => {
  test('keeps each line with the hashes of its leaves, counts and tokens, and is one blob however often it is written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-part-'));
    try {
      const blobs = new BlobStore(folder);
      const part = await writePart(blobs, RESULTS);
      expect(part).toMatchObject({ completed: 1, failed: 1, usage: [3, 5] });
      expect(await writePart(blobs, RESULTS)).toEqual(part);
      expect(readPart(JSON.stringify(part))).toEqual(part);
      const pieces: Buffer[] = [];
      for await (const piece of blobs.read(part.sha256)) pieces.push(piece);
      const lines = Buffer.concat(pieces).toString('utf8').split('\n');
      expect(lines.map((line) => StoredLine.parse(JSON.parse(line)))).toEqual([
        [false, ['one', 'two'].map((leaf) => leafHash(Buffer.from(leaf)).toString('hex')), { custom_id: 'a' }],
        [true, [], { custom_id: 'b\n"' }],
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('whose record is damaged is not read', () => {
    expect(() => readPart('{"sha256":"x","completed":1}')).toThrow();
    expect(() => readPart('')).toThrow();
  });
});

import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createHash } from 'node:crypto';
import { afterAll, expect, test } from '@jest/globals';
import { anEntry, aSeal, aTombstone } from '../../../test/support/memories.ts';
import { readBundle } from './bundle-reader.ts';
import { writeBundle, type BundleRecord, type BundleSource } from './bundle-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'bundle-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ENTRIES = 100_000;
const RECORDS = 150_000;
const LINES = 1_000_000;
/** Ends what hangs; a test of so many lines takes minutes where others use the machine too. */
const AT_MOST_MS = 3_600_000;

/** A hundred thousand memories with a history, and tombstones among them. */
function* many(): Generator<BundleRecord> {
  for (let at = 0; at < RECORDS; at += 1) {
    const id = `mem_${String(at).padStart(8, '0')}`;
    if (at % 3 === 2) {
      yield { tombstone: aTombstone({ id }) };
      continue;
    }
    const {
      id: _,
      salt,
      created_at,
      agent,
      thread,
      source,
      supersedes,
      contradicts,
      history: _history,
      ...state
    } = anEntry({
      text: `Bought ${at} apples — «${String.fromCodePoint(0x1f34e + (at % 50))}» \u0000\n${'x'.repeat(at % 400)}`,
      metadata: { at, 9: 'nine', 10: 'ten', half: at / 2 },
    });
    yield {
      entry: {
        ...{ id, salt, created_at, agent, thread, source, supersedes, contradicts },
        ...state,
        version: 2,
        history: [{ ...state, text: 'before' }],
      },
    };
  }
}

async function write(source: BundleSource, name: string): Promise<string> {
  const path = join(folder, name);
  await pipeline(Readable.from(writeBundle(source, aSeal)), createWriteStream(path));
  return path;
}

async function* read(path: string): AsyncGenerator<BundleRecord> {
  for await (const reading of readBundle(createReadStream(path))) {
    if (reading.kind === 'entry') yield { entry: reading.entry };
    if (reading.kind === 'tombstone') yield { tombstone: reading.tombstone };
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

test(
  '100,000 memories with a history are the same bytes after write, read and write',
  async () => {
    const first = await write({ receipts: () => [], records: many }, 'first');
    const second = await write({ receipts: () => [], records: () => read(first) }, 'second');
    expect(await digestOf(second)).toBe(await digestOf(first));
    let entries = 0;
    for await (const record of read(second)) entries += 'entry' in record ? 1 : 0;
    expect(entries).toBe(ENTRIES);
  },
  AT_MOST_MS,
);

test(
  'a bundle of a million lines is read to its end',
  async () => {
    const tombstones = function* () {
      for (let at = 0; at < LINES; at += 1)
        yield { tombstone: aTombstone({ id: `mem_${String(at).padStart(8, '0')}` }) };
    };
    const path = await write({ receipts: () => [], records: tombstones }, 'million');
    let lines = 0;
    for await (const _ of read(path)) lines += 1;
    expect(lines).toBe(LINES);
  },
  AT_MOST_MS,
);

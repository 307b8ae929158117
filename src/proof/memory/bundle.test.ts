import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { anEntry, anyRecords, aSeal, aTombstone, bundleOf, sourceOf } from '../../../test/support/memories.ts';
import { IS_LONG } from '../../../test/support/thorough.ts';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { Keyring, keyringEntry } from '../receipts/keyring.ts';
import { formatVkey, noteKey } from '../tlog/signed-note.ts';
import { bundleDifference } from './bundle-difference.ts';
import { MAX_LINE_BYTES } from './bundle-format.ts';
import { signerOf } from './bundle-manifest.ts';
import { readBundle, writtenPart, type BundleReading } from './bundle-reader.ts';
import { BundleRefused } from './bundle-tally.ts';
import { writeBundle, type BundleRecord } from './bundle-writer.ts';

/** How many times as many cases the long tests draw. */
const MORE = IS_LONG ? 20 : 1;

async function readAll(bytes: Uint8Array): Promise<BundleReading[]> {
  const readings = [];
  for await (const reading of readBundle([bytes])) readings.push(reading);
  return readings;
}

/** The records as a reader tells them, to be written again. */
function recordsOf(readings: readonly BundleReading[]): BundleRecord[] {
  const vectors = readings.flatMap((one) => (one.kind === 'vector' ? [one.vector] : []));
  return readings.flatMap((one): BundleRecord[] => {
    if (one.kind === 'tombstone') return [{ tombstone: one.tombstone }];
    if (one.kind !== 'entry') return [];
    return [{ entry: one.entry, vectors: vectors.filter(({ id }) => id === one.entry.id) }];
  });
}
const receiptsOf = (readings: readonly BundleReading[]) =>
  readings.flatMap((one) => (one.kind === 'receipt' ? [one.text] : []));
const anyReceipts = fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 4 });
const three = sourceOf(['mem_1', 'mem_2', 'mem_3'].map((id) => ({ entry: anEntry({ id, text: `I am ${id}` }) })));
const refusal = (name: string) => new RegExp(name.replace(/[.]/g, '\\.'));

describe('a memory bundle', () => {
  test('gives the same bytes when it was read and is written again', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords(), anyReceipts, async (records, receipts) => {
        const bytes = await bundleOf(sourceOf(records, receipts));
        const readings = await readAll(bytes);
        expect(recordsOf(readings)).toHaveLength(records.length);
        expect(await bundleOf(sourceOf(recordsOf(readings), receiptsOf(readings)))).toEqual(bytes);
      }),
      { numRuns: 30 * MORE },
    );
  });

  test('differs between two instances in its last line only', async () => {
    const elsewhere = { ...aSeal, createdAt: '2026-06-01T00:00:00.000Z', instance: 'other.example', owner: 'a. l.' };
    const [one, other] = [(await bundleOf(three)).toString(), (await bundleOf(three, elsewhere)).toString()];
    expect(one).not.toBe(other);
    expect(one.split('\n').slice(0, -2)).toEqual(other.split('\n').slice(0, -2));
  });

  test('that was cut off anywhere is refused, and goes on to the same bytes from there', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords(), anyReceipts, fc.nat(), async (records, receipts, place) => {
        const source = sourceOf(records, receipts);
        const bytes = await bundleOf(source);
        const torn = bytes.subarray(0, place % bytes.length);
        await expect(readAll(torn)).rejects.toThrow(BundleRefused);
        const part = await writtenPart([torn]);
        const rest = [];
        for await (const line of writeBundle(source, aSeal, part)) rest.push(Buffer.from(line));
        expect(Buffer.concat([torn.subarray(0, part.bytes), ...rest])).toEqual(bytes);
      }),
      { numRuns: 40 * MORE },
    );
  });

  test('with any byte changed is refused', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords(), anyReceipts, fc.nat(), fc.integer({ min: 1, max: 255 }), async (...drawn) => {
        const [records, receipts, place, change] = drawn;
        const bytes = await bundleOf(sourceOf(records, receipts), { ...aSeal, key });
        const at = place % bytes.length;
        bytes.writeUInt8((bytes[at] ?? 0) ^ change, at);
        const read = readAll(bytes).then((readings) => signerOf(manifestOf(readings), keyring));
        // A changed id of the key is that of a key which nobody trusts.
        await expect(
          read.then((signer) => 'none' in signer && Promise.reject(new BundleRefused(signer.none))),
        ).rejects.toThrow(BundleRefused);
      }),
      { numRuns: 100 * MORE },
    );
  });

  test('says which entry was changed, whatever byte of it', async () => {
    const bytes = await bundleOf(three);
    const begin = bytes.indexOf('{"digest"', bytes.indexOf('I am mem_1'));
    const end = bytes.indexOf('\n', begin);
    expect(bytes.toString('utf8', begin, end)).toContain('I am mem_2');
    for (let at = begin; at <= end; at += 1) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8((bytes[at] ?? 0) ^ 1, at);
      await expect(readAll(changed)).rejects.toThrow(refusal(isOfTheId(bytes, at) ? 'after mem_1' : 'mem_2'));
    }
  });

  test('says between which entries one was changed whose digest was changed with it', async () => {
    const [bytes, other] = [
      await bundleOf(three),
      await bundleOf(sourceOf([{ entry: anEntry({ id: 'mem_2', text: 'I am another' }) }])),
    ];
    const lines = bytes.toString().split('\n');
    lines[2] = other.toString().split('\n')[1] ?? '';
    await expect(readAll(Buffer.from(lines.join('\n')))).rejects.toThrow(refusal('mem_3'));
  });

  test.each([
    ['an entry twice', (lines: string[]) => [...lines.slice(0, 2), ...lines.slice(1)], 'mem_1 stands twice'],
    [
      'entries out of order',
      ([head = '', a = '', b = '', ...more]: string[]) => [head, b, a, ...more],
      'mem_1 stands out of',
    ],
    ['an entry left out', ([head = '', , ...more]: string[]) => [head, ...more], 'the manifest covers'],
    ['something after the manifest', (lines: string[]) => [...lines.slice(0, -1), '{}', ''], 'after the manifest'],
    ['another head', ([, ...more]: string[]) => ['{"format":"countersign-memory/2"}', ...more], 'first line'],
    ['an unknown kind', ([head = '', ...more]: string[]) => [head, '{"digest":"","secret":1}', ...more], 'Line 2'],
  ])('with %s is refused', async (_, change, name) => {
    const lines = (await bundleOf(three)).toString().split('\n');
    await expect(readAll(Buffer.from(change(lines).join('\n')))).rejects.toThrow(refusal(name));
  });

  test('cannot be written with an id twice', async () => {
    const source = {
      receipts: () => [],
      records: () => [{ entry: anEntry() }, { tombstone: aTombstone({ id: anEntry().id }) }],
    };
    await expect(bundleOf(source)).rejects.toThrow(BundleRefused);
  });

  test('is written and read one record at a time, however many there are', async () => {
    let given = 0;
    const endless = async function* () {
      for (;;) {
        await Promise.resolve();
        yield { entry: anEntry({ id: `mem_${String(given++).padStart(12, '0')}` }) };
      }
    };
    const bytes = async function* () {
      const source = { receipts: () => [], records: () => endless() };
      for await (const line of writeBundle(source, aSeal)) yield Buffer.from(line);
    };
    let read = 0;
    for await (const reading of readBundle(bytes())) {
      expect(reading.kind).toBe('entry');
      expect(given).toBe((read += 1));
      if (read === 2_000) break;
    }
  });

  test('with a line longer than any is refused before the line ends', async () => {
    let given = 0;
    const endless = async function* () {
      yield Buffer.from('{"format":"countersign-memory/1"}\n');
      for (;;) {
        await Promise.resolve();
        given += 65_536;
        yield Buffer.alloc(65_536, 'x');
      }
    };
    const reading = readBundle(endless());
    await expect(reading.next()).rejects.toThrow(refusal('Line 2'));
    expect(given).toBeLessThan(MAX_LINE_BYTES + 2 * 65_536);
  });
});

const key = new SigningKey(Buffer.alloc(32, 7));
const keyring = new Keyring({
  version: 1,
  keys: [keyringEntry('api', key.public, '2026-01-01T00:00:00.000Z')],
  logPolicy: `log ${formatVkey(noteKey('example.com/log', 'ed25519', key.public))}
quorum none
`,
});

describe('the signature of a bundle', () => {
  test('is that of the instance, by a key that a keyring trusts as its API', async () => {
    const manifest = manifestOf(await readAll(await bundleOf(three, { ...aSeal, key })));
    expect(signerOf(manifest, keyring)).toEqual({ key: key.public.id });
    expect(signerOf(manifest, undefined)).toHaveProperty('none');
    const stranger = new SigningKey(Buffer.alloc(32, 8));
    const theirs = manifestOf(await readAll(await bundleOf(three, { ...aSeal, key: stranger })));
    expect(signerOf(theirs, keyring)).toHaveProperty('none');
    expect(signerOf(manifestOf(await readAll(await bundleOf(three))), keyring)).toHaveProperty('none');
  });

  test('covers whose memories these are', async () => {
    const manifest = manifestOf(await readAll(await bundleOf(three, { ...aSeal, key })));
    const other = { ...manifest, manifest: { ...manifest.manifest, owner: 'eve' } };
    expect(() => signerOf(other, keyring)).toThrow(BundleRefused);
  });
});

function manifestOf(readings: readonly BundleReading[]) {
  const last = readings.at(-1);
  if (last?.kind !== 'manifest') throw new Error('the last reading is the manifest');
  return last.line;
}

/** Whether this byte is one of the name of `mem_2`, or of what shows it. */
function isOfTheId(bytes: Buffer, at: number): boolean {
  const begin = bytes.indexOf('"id":"mem_2","metadata":');
  return at >= begin && at < begin + '"id":"mem_2","metadata":'.length;
}

describe('the difference of two bundles', () => {
  test('names exactly what was added, changed, removed and left out', async () => {
    const kept = { entry: anEntry({ id: 'kept' }) };
    const before = await bundleOf(
      sourceOf([
        kept,
        { entry: anEntry({ id: 'changed' }) },
        { entry: anEntry({ id: 'gone' }) },
        { entry: anEntry({ id: 'removed' }) },
        { tombstone: aTombstone({ id: 'back' }) },
      ]),
    );
    const after = await bundleOf(
      sourceOf([
        kept,
        { entry: anEntry({ id: 'changed', text: 'otherwise' }) },
        { entry: anEntry({ id: 'added' }) },
        { entry: anEntry({ id: 'back' }) },
        { tombstone: aTombstone({ id: 'removed' }) },
      ]),
    );
    const found = [];
    for await (const one of bundleDifference([before], [after])) found.push(`${one.change} ${one.id}`);
    expect(found).toEqual(['added added', 'back back', 'changed changed', 'gone gone', 'removed removed']);
  });

  test('of a bundle and itself is nothing', async () => {
    const bytes = await bundleOf(three);
    expect(await bundleDifference([bytes], [bytes]).next()).toMatchObject({ done: true });
  });
});

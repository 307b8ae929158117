import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { readBundle } from '../../src/proof/memory/bundle-reader.ts';
import type { BundleRecord } from '../../src/proof/memory/bundle-writer.ts';
import type { MemoryEntry, MemoryTombstone } from '../../src/proof/memory/entry.ts';
import { MemoryBundles } from '../../src/surfaces/memory/memory-bundles.ts';
import type { Whose } from '../../src/surfaces/memory/memory-calls.ts';
import { MemoryClient } from '../../src/surfaces/memory/memory-client.ts';
import { MemoryServer } from '../../src/surfaces/memory/memory-server.ts';
import type { Store } from './derived-memory-contract.ts';
import { anEntry, anyRecords, aTombstone } from './memories.ts';
import { IS_LONG, longTest } from './thorough.ts';

const PAGE = 1_000;
const MEMORIES = 100_000;

/** What is promised of memories that are carried from one owner to another, by the calls of the role. */
export function carriedContract({ folder, desk, someone }: Omit<Store, 'database'>): void {
  let server: MemoryServer;
  let client: MemoryClient;
  const key = new SigningKey(Buffer.alloc(32, 7));

  beforeAll(async () => {
    const socket = join(folder.path, 'calls.sock');
    // Other tests open the desk anew: whoever answers is asked for at each call.
    server = new MemoryServer(
      new Proxy(desk().answers, { get: (_, name): unknown => Reflect.get(desk().answers, name) }),
      createLogger('memory', 'error'),
    );
    await server.listen(socket);
    client = new MemoryClient(socket);
  });
  afterAll(() => server.close());

  /** The lines before the manifest, and the sums of all lines in it. */
  async function exported(whose: Whose): Promise<{ lines: Buffer; sums: unknown }> {
    const pieces: Buffer[] = [];
    for await (const piece of new MemoryBundles(client, key).export(whose, 0)) pieces.push(piece);
    const bundle = Buffer.concat(pieces);
    const end = bundle.lastIndexOf('\n', bundle.length - 2) + 1;
    const { manifest } = JSON.parse(bundle.subarray(end).toString()) as { manifest: { records: unknown } };
    return { lines: bundle.subarray(0, end), sums: manifest.records };
  }

  async function imported(
    whose: Whose,
    records: AsyncIterable<BundleRecord> | Iterable<BundleRecord>,
  ): Promise<string[]> {
    const outcomes: string[] = [];
    let [entries, tombstones]: [MemoryEntry[], MemoryTombstone[]] = [[], []];
    const send = async () => {
      outcomes.push(...(await client.call('buryMemories', { whose, tombstones })));
      outcomes.push(...(await client.call('putEntries', { whose, entries })));
      [entries, tombstones] = [[], []];
    };
    for await (const record of records) {
      if ('entry' in record) entries.push(record.entry);
      else tombstones.push(record.tombstone);
      if (entries.length === PAGE || tombstones.length === PAGE) await send();
    }
    await send();
    return outcomes;
  }

  async function* recordsOf(bundle: Buffer): AsyncGenerator<BundleRecord> {
    for await (const reading of readBundle([bundle]))
      if (reading.kind === 'entry') yield { entry: reading.entry };
      else if (reading.kind === 'tombstone') yield { tombstone: reading.tombstone };
  }

  /** Exports, imports into an owner who has nothing, and exports again. */
  async function comesBack(records: Iterable<BundleRecord>): Promise<void> {
    const [from, to] = [someone(), someone()];
    expect(new Set(await imported(from, records))).toEqual(new Set(['kept']));
    const first = await exported(from);
    // The reader wants the end of the bundle too.
    const pieces: Buffer[] = [];
    for await (const piece of new MemoryBundles(client, key).export(from, 0)) pieces.push(piece);
    expect(new Set(await imported(to, recordsOf(Buffer.concat(pieces))))).toEqual(new Set(['kept']));
    const second = await exported(to);
    expect(second.sums).toEqual(first.sums);
    expect(second.lines.equals(first.lines)).toBe(true);
    for (const whose of [from, to]) await desk().answers.eraseOwner({ whose });
  }

  test('what is exported, imported elsewhere and exported again is the same bytes, whatever it is', async () => {
    const all = fc.sample(anyRecords(), { numRuns: IS_LONG ? 100 : 6, seed: 11 });
    for (const records of all) if (records.length > 0) await comesBack(records);
  });

  longTest(
    'so it is for a hundred thousand memories, and as many that were taken away',
    async () => {
      const many = function* (): Generator<BundleRecord> {
        for (let at = 0; at < MEMORIES; at += 1) {
          const text = `Bought ${at} apples — «${String.fromCodePoint(0x1f34e + (at % 50))}» ${'x'.repeat(at % 90)}`;
          yield {
            entry: anEntry({ id: `mem_${String(2 * at).padStart(8, '0')}`, text, metadata: { at, half: at / 2 } }),
          };
          yield { tombstone: aTombstone({ id: `mem_${String(2 * at + 1).padStart(8, '0')}` }) };
        }
      };
      await comesBack(many());
    },
    3_600_000,
  );
}

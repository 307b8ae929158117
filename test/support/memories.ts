import fc from 'fast-check';
import { encodeVector } from '../../src/proof/memory/bundle-format.ts';
import type { BundleSeal } from '../../src/proof/memory/bundle-manifest.ts';
import { writeBundle, type BundleRecord, type BundleSource } from '../../src/proof/memory/bundle-writer.ts';
import {
  lineDigest,
  MEMORY_TYPES,
  ORIGIN_KINDS,
  trustOfOrigins,
  type FormerState,
  type MemoryEntry,
  type MemoryOrigin,
  type MemoryTombstone,
} from '../../src/proof/memory/entry.ts';

const MAY = '2026-05-01T10:00:00.000Z';

export const anOrigin: MemoryOrigin = {
  kind: 'user',
  at: MAY,
  from: null,
  reference: null,
  rests_on: [],
  trust: 'user',
  receipt: null,
};

/** A memory that a person told, with what matters changed. */
export function anEntry(change: Partial<MemoryEntry> = {}): MemoryEntry {
  return {
    id: 'mem_01',
    salt: '00112233445566778899aabbccddeeff',
    created_at: MAY,
    agent: null,
    thread: null,
    source: 'notes',
    supersedes: [],
    contradicts: [],
    version: 1,
    updated_at: MAY,
    type: 'semantic',
    text: 'I am allergic to nuts.',
    category: 'health',
    valid_from: null,
    valid_to: null,
    metadata: {},
    origins: [anOrigin],
    trust: 'user',
    history: [],
    ...change,
  };
}

/** What is left of a memory that was erased. */
export function aTombstone(change: Partial<MemoryTombstone> = {}): MemoryTombstone {
  return { id: 'mem_00', removed_at: MAY, reason: 'erased', merged_into: null, receipt: null, ...change };
}

const anyTime = fc
  .date({ min: new Date('1970-01-01'), max: new Date('2200-01-01'), noInvalidDate: true })
  .map((date) => date.toISOString());
const anyId = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,40}$/);
const anyLabel = fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }));
const anyOrigin: fc.Arbitrary<MemoryOrigin> = fc
  .record({
    kind: fc.constantFrom(...ORIGIN_KINDS),
    at: anyTime,
    from: anyLabel,
    reference: anyLabel,
    rests_on: fc.array(anyId, { maxLength: 3 }),
    receipt: fc.option(
      fc.record({
        job: fc.stringMatching(/^job_[0-9a-hjkmnp-tv-z]{30}$/),
        sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
      }),
    ),
  })
  .map((origin) => ({ ...origin, trust: origin.kind }));
const anyState: fc.Arbitrary<FormerState> = fc
  .record({
    updated_at: anyTime,
    type: fc.constantFrom(...MEMORY_TYPES),
    text: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 }).filter((text) => text.trim() !== ''),
    category: anyLabel,
    valid_from: fc.option(anyTime),
    valid_to: fc.option(anyTime),
    metadata: fc.dictionary(
      fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__proto__'),
      fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0),
        fc.boolean(),
      ),
      { maxKeys: 4, noNullPrototype: true },
    ),
    origins: fc.array(anyOrigin, { minLength: 1, maxLength: 3 }),
  })
  .map((former) => ({ ...former, version: 1, trust: trustOfOrigins(former.origins) }));

/** Any entry that the format allows. */
export function anyEntry(): fc.Arbitrary<MemoryEntry> {
  return fc
    .record({
      id: anyId,
      salt: fc.stringMatching(/^[0-9a-f]{32}$/),
      created_at: anyTime,
      agent: anyLabel,
      thread: anyLabel,
      source: anyLabel,
      supersedes: fc.array(anyId, { maxLength: 3 }),
      contradicts: fc.array(anyId, { maxLength: 3 }),
    })
    .chain((head) =>
      fc.array(anyState, { minLength: 1, maxLength: 2 }).map((states) => {
        const numbered = states.map((former, at) => ({ ...former, version: at + 1 }));
        const [now, ...before] = numbered.toReversed();
        if (now === undefined) throw new Error('there is a state');
        return { ...head, ...now, history: before.toReversed() };
      }),
    );
}

/** Records as a source of a bundle gives them: in order, after an id. */
export function sourceOf(records: readonly BundleRecord[], receipts: readonly string[] = []): BundleSource {
  const idOf = (record: BundleRecord) => ('entry' in record ? record.entry.id : record.tombstone.id);
  const byText = (a: string, b: string) => (a < b ? -1 : Number(a > b));
  return {
    receipts: (after = '') =>
      [...receipts].sort((a, b) => byText(lineDigest(a), lineDigest(b))).filter((text) => lineDigest(text) > after),
    records: (after = '') => [...records].sort((a, b) => byText(idOf(a), idOf(b))).filter((one) => idOf(one) > after),
  };
}

/** A seal without a signature. */
export const aSeal: BundleSeal = { createdAt: MAY, instance: 'example.com', owner: 'ada', key: undefined };

/** The bytes of a bundle. */
export async function bundleOf(source: BundleSource, seal: BundleSeal = aSeal): Promise<Buffer> {
  const lines: Buffer[] = [];
  for await (const line of writeBundle(source, seal)) lines.push(Buffer.from(line));
  return Buffer.concat(lines);
}

/** Any records with distinct ids, some with vectors. */
export function anyRecords(): fc.Arbitrary<BundleRecord[]> {
  const anyVector = fc.record({
    embedder: fc.constantFrom('a'.repeat(64), 'b'.repeat(64)),
    values: fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 4, maxLength: 4 }),
  });
  const anEntryWithVectors = fc
    .tuple(anyEntry(), fc.uniqueArray(anyVector, { maxLength: 2, selector: ({ embedder }) => embedder }))
    .map(([entry, vectors]) => ({
      entry,
      vectors: vectors
        .map(({ embedder, values }) => ({ embedder, id: entry.id, values: encodeVector(Float32Array.from(values)) }))
        .sort((a, b) => (a.embedder < b.embedder ? -1 : 1)),
    }));
  const anyTombstone = anyId.map((id) => ({ tombstone: aTombstone({ id }) }));
  return fc.uniqueArray<BundleRecord, string>(fc.oneof(anEntryWithVectors, anyTombstone), {
    maxLength: 4,
    selector: (record) => ('entry' in record ? record.entry.id : record.tombstone.id),
  });
}

import { createHash, type Hash } from 'node:crypto';
import { mkdir, open, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BundleReading } from '../../proof/memory/bundle-reader.ts';
import type { MemoryEntry, MemoryTombstone, OriginKind } from '../../proof/memory/entry.ts';
import { memCanonical, memTime, type MemManifest } from './mem-format.ts';

/** What our kinds of origin are in the words of Portable Memory's RFC 0003. */
const CLAIMS: Readonly<Record<OriginKind, string>> = {
  user: 'asserted',
  tool: 'observed',
  model: 'inferred',
  import: 'imported',
};
const SUMMARY_CHARS = 120;
const MAX_HELD = 1_000_000;
export const MEM_SPEC = 'https://github.com/MacPaw/portable-memory/blob/main/Spec/portable-memory-spec.md';

/** An entry as an episode. The entry itself goes with it, so that nothing of it is lost on the way back. */
export function episodeOf(entry: MemoryEntry): Record<string, unknown> {
  const { id, text, created_at, valid_from, valid_to, category, thread, metadata, trust } = entry;
  const strings = Object.entries(metadata).filter((one): one is [string, string] => typeof one[1] === 'string');
  return {
    ...{ id, details: text, summary: summaryOf(text) },
    ...{ eventTime: memTime(valid_from ?? created_at), mentionTime: memTime(created_at) },
    ...{ ingestionTime: memTime(created_at), sourceType: 'note', actors: [], sensitivity: 'low' },
    ...{ metadata: Object.fromEntries(strings), categories: category === null ? [] : [category] },
    ...{ importance: 0.5, confidence: 0.7, lifecycleState: 'HOT', extractionState: 'done' },
    ...{ accessCount: 0, pinned: false, vaultRefs: [], contextID: thread ?? undefined },
    ...{ claimClass: CLAIMS[trust], tValidFrom: time(valid_from), tValidTo: time(valid_to) },
    countersign: { entry },
  };
}

const time = (at: string | null) => (at === null ? undefined : memTime(at));

/** The first line, at most 120 code points of it. */
function summaryOf(text: string): string {
  return Array.from(text.split('\n')[0] ?? '')
    .slice(0, SUMMARY_CHARS)
    .join('');
}

function tombstoneOf({ id, removed_at, reason }: MemoryTombstone): Record<string, unknown> {
  return {
    ...{ id: `tomb_${id}`, op: reason === 'erased' ? 'redact' : 'delete', targetKind: 'episode', targetID: id },
    ...{ deletedAt: memTime(removed_at), actor: 'owner', reason },
    derived: {
      ...{ sentenceIDs: [], factIDs: [], edgeIDs: [], entityIDs: [], chunkIDs: [] },
      ...{ embeddingCacheKeys: [], episodeLinkCount: 0 },
    },
  };
}

/**
 * Writes what a reader of a memory bundle tells as a `.mem` bundle into a folder that is not there yet.
 * Vectors have no form in `.mem` and are left out. Returns its manifest; throws what the reader throws, which
 * leaves a folder without a manifest.
 */
export async function writeMem(readings: AsyncIterable<BundleReading>, folder: string): Promise<MemManifest> {
  await mkdir(folder);
  const episodes = new LineFile(folder, 'items/episode.jsonl');
  const receipts = new LineFile(folder, 'items/countersignReceipt.jsonl');
  const tombstones: string[] = [];
  const threads = new Map<string, string>();
  const times: { from: string; to: string } = { from: '9', to: '0' };
  let createdAt = '1970-01-01T00:00:00.000Z';
  try {
    for await (const reading of readings) {
      if (reading.kind === 'manifest') createdAt = reading.line.manifest.created_at;
      else if (reading.kind === 'receipt') await receipts.add(receiptLine(reading.digest, reading.text));
      else if (reading.kind === 'tombstone') tombstones.push(memCanonical(tombstoneOf(reading.tombstone)));
      else if (reading.kind === 'entry') {
        const { entry } = reading;
        await episodes.add(memCanonical(episodeOf(entry)));
        const at = memTime(entry.valid_from ?? entry.created_at);
        [times.from, times.to] = [at < times.from ? at : times.from, at > times.to ? at : times.to];
        if (entry.thread !== null && !threads.has(entry.thread)) threads.set(entry.thread, entry.created_at);
      }
      if (tombstones.length > MAX_HELD || threads.size > MAX_HELD)
        throw new RangeError('Too many tombstones or threads.');
    }
  } finally {
    await Promise.all([episodes.close(), receipts.close()]);
  }
  const contexts = new LineFile(folder, 'items/context.jsonl');
  for (const line of sorted([...threads].map(([id, at]) => memCanonical(contextOf(id, at))))) await contexts.add(line);
  const buried = new LineFile(folder, 'audit/tombstones.jsonl');
  for (const line of sorted(tombstones)) await buried.add(line);
  await Promise.all([contexts.close(), buried.close()]);
  const counted = { context: contexts, episode: episodes, countersignReceipt: receipts, tombstone: buried };
  return seal(folder, counted, { createdAt, threads: sorted([...threads.keys()]), times });
}

const receiptLine = (digest: string, text: string) => memCanonical({ id: `sha256:${digest}`, receipt: text });
const contextOf = (id: string, at: string) => ({ id, label: id, archived: false, createdAt: memTime(at) });
const sorted = (lines: string[]) => lines.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

interface Covered {
  readonly createdAt: string;
  readonly threads: readonly string[];
  readonly times: { readonly from: string; readonly to: string };
}

async function seal(
  folder: string,
  counted: Readonly<Record<string, LineFile>>,
  { createdAt, threads, times }: Covered,
): Promise<MemManifest> {
  const written = Object.entries(counted).filter(([, { lines }]) => lines > 0);
  const files = written.map(([, file]) => file.listed()).sort((a, b) => (a.path < b.path ? -1 : 1));
  const checksums = files.map(({ sha256, path }) => `${sha256}  ${path}\n`).join('');
  const manifest: MemManifest = {
    ...{ format: '1.1.0', generator: 'countersign/0.1', conformanceLevel: 'L0', createdAt: memTime(createdAt) },
    ...{ exportMode: 'full', schemaVersion: 1, embeddingModel: '', embeddingDim: 0, embeddingsIncluded: false },
    capabilities: ['tombstones', 'ext', 'passthrough'],
    counts: Object.fromEntries(written.map(([kind, { lines }]) => [kind, lines])),
    ...{ files, specURL: MEM_SPEC, bundleDigest: createHash('sha256').update(checksums).digest('hex') },
    ...(counted['episode']?.lines === 0 ? {} : { coverage: times }),
    ...(threads.length === 0 ? {} : { scopes: threads }),
  };
  await writeFile(join(folder, 'CHECKSUMS'), checksums);
  await writeFile(join(folder, 'manifest.json'), memCanonical(manifest));
  return manifest;
}

/** A file of lines, made with its first line, and what a manifest lists of it. */
class LineFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #hash: Hash = createHash('sha256');
  #file: FileHandle | undefined;
  #bytes = 0;
  lines = 0;

  constructor(folder: string, path: string) {
    this.#folder = folder;
    this.#path = path;
  }

  async add(line: string): Promise<void> {
    const bytes = Buffer.from(`${line}\n`);
    if (this.#file === undefined) {
      await mkdir(dirname(join(this.#folder, this.#path)), { recursive: true });
      this.#file = await open(join(this.#folder, this.#path), 'wx');
    }
    await this.#file.appendFile(bytes);
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    this.lines += 1;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  listed(): MemManifest['files'][number] {
    return { path: this.#path, sha256: this.#hash.copy().digest('hex'), bytes: this.#bytes };
  }
}

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from '../../src/ground/database/database.ts';
import type { Embedder } from '../../src/surfaces/memory/embedder.ts';
import type { Ask, Whose } from '../../src/surfaces/memory/memory-calls.ts';
import { openMemoryDesk, type MemoryDesk } from '../../src/surfaces/memory/memory-desk.ts';
import { WrappingKey } from '../../src/surfaces/memory/wrapping-key.ts';

/** A folder with a wrapping key, where the keys of owners will be. */
export class MemoryFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'cs-memory-'));
  readonly keyFile = join(this.path, 'wrapping.key');
  #keys: string[] = [];

  constructor() {
    this.addWrappingKey();
  }

  /** Puts a new wrapping key in front; the old ones stay behind it. */
  addWrappingKey(): void {
    this.#keys.unshift(randomBytes(32).toString('base64url'));
    writeFileSync(this.keyFile, this.#keys.join('\n'), { mode: 0o600 });
  }

  open(
    database: Database,
    embedder: Embedder = new WordEmbedder(),
    thread: { largeFrom?: number; threadFile?: URL } = {},
  ): Promise<MemoryDesk> {
    const wrapping = WrappingKey.read(this.keyFile);
    return openMemoryDesk({
      ...{ database, folder: this.path, wrapping, embedder, openBytes: 16_777_216, keptMs: KEPT },
      history: { keptMs: HISTORY_MS, jobs: 1_000_000 },
      ...thread,
    });
  }
}

/** Memories of the category `brief` are kept for a minute. */
const KEPT = new Map([['brief', 60_000]]);

const HISTORY_MS = 90 * 86_400_000;
const DIMENSIONS = 64;

/**
 * Vectors of the words of a text, each a direction drawn from its digest; texts without words in common
 * differ.
 */
export class WordEmbedder implements Embedder {
  readonly #digest: string;

  constructor(name = 'words') {
    this.#digest = createHash('sha256').update(name).digest('hex');
  }

  embed(texts: readonly string[]) {
    return Promise.resolve(
      texts.map((text) => {
        const values = new Float32Array(DIMENSIONS);
        for (const word of text.toLowerCase().split(/\W+/))
          createHash('sha512')
            .update(word)
            .digest()
            .forEach((byte, at) => {
              values[at % DIMENSIONS] = (values[at % DIMENSIONS] ?? 0) + byte / 128 - 1;
            });
        const length = Math.hypot(...values) || 1;
        return { embedder: this.#digest, values: values.map((value) => value / length) };
      }),
    );
  }
}

/** Somebody of a tenant who may see everything of an owner. */
export const whoseOf = (change: Partial<Whose> = {}): Whose => ({
  tenant: 'acme',
  owner: 'ann',
  by: 'key-1',
  sources: null,
  ...change,
});

type Draft = Ask<'add'>['drafts'][number];

let drafts = 0;

/** Something to remember, said by a user, with what matters changed. */
export function aDraft(text: string, change: Partial<Draft> = {}): Draft {
  drafts += 1;
  return {
    id: `mem_${String(drafts).padStart(26, '0')}`,
    type: 'semantic',
    text,
    category: null,
    agent: null,
    thread: null,
    source: 'key-1',
    valid_from: null,
    valid_to: null,
    metadata: {},
    supersedes: [],
    contradicts: [],
    origin: { kind: 'user', from: null, reference: null, rests_on: [], receipt: null },
    ...change,
  };
}

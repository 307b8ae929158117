// The memory of a bench: everything that answers calls, over a database in a folder of its own.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seeded } from '../overload/seeded.mjs';

const dist = (path) => import(new URL(`../../dist/surfaces/memory/${path}`, import.meta.url).href);
const ground = (path) => import(new URL(`../../dist/ground/database/${path}`, import.meta.url).href);
const { openMemoryDesk } = await dist('memory-desk.js');
const { OwnEmbedder } = await dist('embedder.js');
const { WrappingKey } = await dist('wrapping-key.js');
const { PgliteDatabase } = await ground('pglite-database.js');
const { PostgresDatabase } = await ground('postgres-database.js');

const OPEN_BYTES = 268_435_456;
const DAY_MS = 86_400_000;
const DIMENSIONS = 512;

/** Opens a memory over the embedded database, or over the server at `url`. */
export async function openBenchDesk({ embedder, url }) {
  const folder = mkdtempSync(join(tmpdir(), 'cs-bench-memory-'));
  const keyFile = join(folder, 'wrapping.key');
  writeFileSync(keyFile, randomBytes(32).toString('base64url'), { mode: 0o600 });
  const database =
    url === undefined ? await PgliteDatabase.open(folder) : await PostgresDatabase.open(url, () => process.exit(1));
  const desk = await openMemoryDesk({
    ...{ database, folder, wrapping: WrappingKey.read(keyFile), embedder, openBytes: OPEN_BYTES, keptMs: new Map() },
    history: { keptMs: DAY_MS, jobs: 1_000_000 },
  });
  return {
    answers: desk.answers,
    folder,
    database,
    /** Closes every owner, as after some time without use. */
    closeOwners: () => desk.tidy(Date.now() + 3_600_000),
    async close() {
      desk.stop();
      await database.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The sentence embeddings that come with the program; each text is embedded once. */
export class KeepingEmbedder {
  #own = new OwnEmbedder();
  #known = new Map();

  async embed(texts) {
    const fresh = [...new Set(texts)].filter((text) => !this.#known.has(text));
    const vectors = await this.#own.embed(fresh);
    fresh.forEach((text, at) => this.#known.set(text, vectors[at]));
    return texts.map((text) => this.#known.get(text));
  }
}

/** Vectors as long as the real ones that say nothing: what is measured with them is all but the embedding. */
export class PlayedEmbedder {
  #digest = createHash('sha256').update('played').digest('hex');
  #random = seeded(7);

  embed(texts) {
    return Promise.resolve(
      texts.map(() => {
        const values = Float32Array.from({ length: DIMENSIONS }, () => this.#random() - 0.5);
        const length = Math.hypot(...values);
        return { embedder: this.#digest, values: values.map((value) => value / length) };
      }),
    );
  }
}

export { OwnEmbedder };

export const whoseOf = (owner) => ({ tenant: 'bench', owner, by: 'bench', sources: null });

let drafts = 0;

/** Something to remember, said by a user. */
export function aDraft(text, change = {}) {
  drafts += 1;
  return {
    ...{ id: `mem_${String(drafts).padStart(26, '0')}`, type: 'semantic', text, category: null, agent: null },
    ...{ thread: null, source: 'bench', valid_from: null, valid_to: null, metadata: {}, supersedes: [] },
    ...{ contradicts: [], origin: { kind: 'user', from: null, reference: null, rests_on: [], receipt: null } },
    ...change,
  };
}

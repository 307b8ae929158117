import { join } from 'node:path';
import { BlobStore } from './blob-store.ts';

/**
 * The blobs of trusted roles: what was confirmed stands in a folder that no worker can write, and what is
 * handed to and fro with the workers of a pool in a folder of that pool. A worker sees the folder of its pool
 * and no other.
 */
export class BlobFolders {
  readonly kept: BlobStore;
  /** Exports of ledgers, which no age removes. */
  readonly ledgers: BlobStore;
  /** Where the statements about closed ledgers stand: a Redis that comes back older closes none again. */
  readonly ledgerStatements: string;
  readonly #root: string;
  readonly #pools = new Map<string, BlobStore>();

  constructor(root: string) {
    this.#root = root;
    this.kept = new BlobStore(keptFolder(root));
    this.ledgers = new BlobStore(ledgerFolder(root));
    this.ledgerStatements = join(ledgerFolder(root), 'statements');
  }

  /** The folder of a pool, whose name is one of the catalog or of a ticket. */
  ofPool(pool: string): BlobStore {
    const store = this.#pools.get(pool) ?? new BlobStore(poolFolder(this.#root, pool));
    this.#pools.set(pool, store);
    return store;
  }

  /** Removes what was neither stored nor touched for `ageMs`, of these pools and of what is kept. */
  async removeOld(pools: readonly string[], ageMs: number): Promise<void> {
    for (const store of [this.kept, ...pools.map((pool) => this.ofPool(pool))]) await store.removeOld(ageMs);
  }
}

/** Where confirmed outputs are kept. */
export function keptFolder(root: string): string {
  return join(root, 'kept');
}

/** Where exports of ledgers are kept. */
export function ledgerFolder(root: string): string {
  return join(root, 'ledgers');
}

/** Where the workers of a pool find their blobs. */
export function poolFolder(root: string, pool: string): string {
  return join(root, 'pools', pool);
}

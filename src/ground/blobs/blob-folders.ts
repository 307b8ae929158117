import { placeIn } from '../config/s3-place.ts';
import type { BlobStore } from './blob-store.ts';
import type { Records } from './records.ts';
import { Storage } from './storage.ts';

/**
 * The blobs of trusted roles: what was confirmed stands in a place that no worker can write, and what is
 * handed to and fro with the workers of a pool in a place of that pool. A worker sees the place of its pool
 * and no other. Places are folders, or in S3.
 */
export class BlobFolders {
  readonly kept: BlobStore;
  /** Exports of ledgers, which no age removes. */
  readonly ledgers: BlobStore;
  /** Where the statements about closed ledgers stand: a Redis that comes back older closes none again. */
  readonly ledgerStatements: Records;
  readonly #root: string;
  readonly #storage: Storage;
  readonly #pools = new Map<string, BlobStore>();

  constructor(root: string, storage = new Storage()) {
    this.#root = root;
    this.#storage = storage;
    this.kept = storage.blobs(placeIn(root, 'kept'));
    this.ledgers = storage.blobs(ledgerFolder(root));
    this.ledgerStatements = storage.records(placeIn(ledgerFolder(root), 'statements'));
  }

  /** The folder of a pool, whose name is one of the catalog or of a ticket. */
  ofPool(pool: string): BlobStore {
    const store = this.#pools.get(pool) ?? this.#storage.blobs(poolFolder(this.#root, pool));
    this.#pools.set(pool, store);
    return store;
  }

  /** Removes what was neither stored nor touched for `ageMs`, of these pools and of what is kept. */
  async removeOld(pools: readonly string[], ageMs: number): Promise<void> {
    for (const store of [this.kept, ...pools.map((pool) => this.ofPool(pool))]) await store.removeOld(ageMs);
  }
}

/** Where exports of ledgers are kept. */
function ledgerFolder(root: string): string {
  return placeIn(root, 'ledgers');
}

/** Where the workers of a pool find their blobs. */
export function poolFolder(root: string, pool: string): string {
  return placeIn(root, 'pools', pool);
}

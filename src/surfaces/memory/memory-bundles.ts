import { Injectable } from '@nestjs/common';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { writeBundle, type BundleRecord } from '../../proof/memory/bundle-writer.ts';
import type { MemoryEntry, MemoryTombstone } from '../../proof/memory/entry.ts';
import type { MemoryClient } from './memory-client.ts';
import { MAX_RECEIPTS_AT_ONCE, type Whose } from './memory-calls.ts';

const RECORDS_AT_ONCE = 1_000;

/** Carries memories out of this instance, as bundles that it signs (docs/memory-bundle.md). */
@Injectable()
export class MemoryBundles {
  readonly #memory: MemoryClient;
  readonly #signingKey: SigningKey;

  constructor(memory: MemoryClient, signingKey: SigningKey) {
    this.#memory = memory;
    this.#signingKey = signingKey;
  }

  /**
   * The bundle of what this caller may read of an owner, from this byte on; a page is in memory at a time.
   * The bytes before the manifest are the same each time while no memory changes: whoever was cut off goes on
   * from there. Throws CodedError `memory_unavailable`, at first or between pages.
   */
  async *export(whose: Whose, fromByte: number): AsyncGenerator<Buffer> {
    const source = { receipts: () => this.#receipts(whose), records: () => this.#records(whose) };
    const seal = {
      createdAt: new Date().toISOString(),
      instance: `countersign/${this.#signingKey.public.id.slice(0, 16)}`,
      owner: whose.owner,
      key: this.#signingKey,
    };
    let left = fromByte;
    for await (const line of writeBundle(source, seal)) {
      const bytes = Buffer.from(line);
      if (left < bytes.length) yield bytes.subarray(left);
      left = Math.max(0, left - bytes.length);
    }
  }

  async *#receipts(whose: Whose): AsyncGenerator<string> {
    for (let after: string | undefined; ;) {
      const ask = { whose, limit: MAX_RECEIPTS_AT_ONCE, ...(after === undefined ? {} : { after }) };
      const page = await this.#memory.call('receiptPage', ask);
      for (const { text } of page) yield text;
      after = page.at(-1)?.sha256;
      if (after === undefined) return;
    }
  }

  /** Entries and tombstones in one order. What is taken away while this runs is told once, as either. */
  async *#records(whose: Whose): AsyncGenerator<BundleRecord> {
    const entries = pages<MemoryEntry>((after) =>
      this.#memory.call('entryPage', { whose, limit: RECORDS_AT_ONCE, ...(after === undefined ? {} : { after }) }),
    );
    const tombstones = pages<MemoryTombstone>((after) =>
      this.#memory.call('tombstonePage', { whose, limit: RECORDS_AT_ONCE, ...(after === undefined ? {} : { after }) }),
    );
    let last = '';
    let [entry, tombstone] = [await entries.next(), await tombstones.next()];
    while (entry.done !== true || tombstone.done !== true) {
      const isEntry = tombstone.done === true || (entry.done !== true && entry.value.id < tombstone.value.id);
      if (isEntry && entry.done !== true) {
        if (entry.value.id > last) yield { entry: entry.value };
        last = entry.value.id > last ? entry.value.id : last;
        entry = await entries.next();
      } else if (tombstone.done !== true) {
        if (tombstone.value.id > last) yield { tombstone: tombstone.value };
        last = tombstone.value.id > last ? tombstone.value.id : last;
        tombstone = await tombstones.next();
      }
    }
  }
}

async function* pages<Item extends { id: string }>(
  page: (after: string | undefined) => Promise<readonly Item[]>,
): AsyncGenerator<Item, undefined> {
  let after: string | undefined;
  for (;;) {
    const items = await page(after);
    yield* items;
    after = items.at(-1)?.id;
    if (after === undefined) return;
  }
}

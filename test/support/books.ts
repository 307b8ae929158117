import type { Redis } from 'ioredis';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { BlobFolders } from '../../src/ground/blobs/blob-folders.ts';
import type { RedisKeys } from '../../src/ground/redis/keys.ts';
import type { Keyring } from '../../src/proof/receipts/keyring.ts';
import { ClosedPeriods } from '../../src/surfaces/ledger/closed-periods.store.ts';
import { Ledgers } from '../../src/surfaces/ledger/ledgers.ts';
import { UsageStore } from '../../src/surfaces/ledger/usage.store.ts';

/** What reads and audits ledgers, with the exports in the blobs of this folder. */
export function booksOf(redis: Redis, keys: RedisKeys, { keyring, blobs }: { keyring: Keyring; blobs: string }) {
  const usage = new UsageStore(redis, keys);
  const folders = new BlobFolders(blobs);
  const closed = new ClosedPeriods(redis, keys, folders);
  const reader = new JobReader(redis, keys, keys.open);
  return { reader, usage, closed, exports: folders.ledgers, ledgers: new Ledgers(usage, closed), keyring };
}

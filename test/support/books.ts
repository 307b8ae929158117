import type { Redis } from 'ioredis';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { BlobFolders } from '../../src/ground/blobs/blob-folders.ts';
import type { RedisKeys } from '../../src/ground/redis/keys.ts';
import type { Keyring } from '../../src/proof/receipts/keyring.ts';
import { ClosedPeriods } from '../../src/surfaces/ledger/closed-periods.store.ts';
import { EnteredEnds } from '../../src/surfaces/ledger/entered-ends.ts';
import { Ledgers } from '../../src/surfaces/ledger/ledgers.ts';
import { UsageStore } from '../../src/surfaces/ledger/usage.store.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

/** What reads and audits ledgers, with the exports in the blobs of this folder, and this log's archive. */
export function booksOf(
  redis: Redis,
  keys: RedisKeys,
  { keyring, blobs, log }: { readonly keyring: Keyring; readonly blobs: string; readonly log?: string },
) {
  const usage = new UsageStore(redis, keys);
  const folders = new BlobFolders(blobs);
  const closed = new ClosedPeriods(redis, keys, folders);
  const reader = new JobReader(redis, keys, keys.open);
  const archive = log === undefined ? undefined : new JobArchive(new FolderTree(log));
  const ends = new EnteredEnds(redis, keys);
  const ledgers = new Ledgers(usage, closed);
  return { reader, archive, ends, usage, closed, exports: folders.ledgers, ledgers, keyring };
}

import { Admission } from '../../src/surfaces/admission/admission.ts';
import { Outlooks } from '../../src/core/forecast/outlooks.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { BlobFolders } from '../../src/ground/blobs/blob-folders.ts';
import { SecretsKeys } from '../../src/ground/keys/secrets-keys.ts';
import { StorageGate } from '../../src/ground/redis/storage-gate.ts';
import { backlogOf } from './queues.ts';
import { PriceTable } from '../../src/surfaces/ledger/price-table.ts';
import { Durability } from '../../src/ground/redis/durability.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { Webhooks } from '../../src/surfaces/webhooks/webhook.store.ts';
import { NOOP_MODEL } from './pipeline.ts';
import type { TestRedis } from './redis.ts';
import { newKey } from './sample-receipts.ts';

/** Takes jobs of the no-op model as the API does, by default for nothing; this key signs their tickets. */
export function admissionTo(server: TestRedis, prices = PriceTable.free(), signingKey = newKey()): Admission {
  const { keys } = server;
  const redis = server.client('api');
  return new Admission({
    redis,
    durability: new Durability({ kind: 'always' }),
    keys,
    gate: new StorageGate(redis, { share: 0.9 }),
    backlog: backlogOf(redis, keys),
    outlooks: new Outlooks(redis, keys, 0.99),
    reader: new JobReader(redis, keys, keys.open),
    blobs: new BlobFolders(server.folder),
    catalog: new Catalog([CatalogModel.parse(NOOP_MODEL)]),
    signingKey,
    defaultRecompute: 0,
    prices,
    webhooks: new Webhooks(redis, keys, new SecretsKeys(newKey())),
    egress: { allowPrivate: false },
  });
}

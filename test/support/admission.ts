import { Admission } from '../../src/admission/admission.ts';
import { BlobStore } from '../../src/blobs/blob-store.ts';
import { FairQueues } from '../../src/bull/fair-queues.ts';
import { PriceTable } from '../../src/ledger/price-table.ts';
import { createLogger } from '../../src/logging/logger.ts';
import { Catalog, CatalogModel } from '../../src/pools/catalog.ts';
import { RateLimits } from '../../src/tenants/rate-limits.ts';
import { Webhooks } from '../../src/webhooks/webhook.store.ts';
import { NOOP_MODEL } from './pipeline.ts';
import type { TestRedis } from './redis.ts';
import { newKey } from './sample-receipts.ts';

/** Takes jobs of the no-op model as the API does, for nothing and without limits. */
export function admissionTo(server: TestRedis): Admission {
  const { keys } = server;
  const redis = server.client('api');
  return new Admission({
    redis,
    keys,
    queues: FairQueues.ofPools(redis, keys),
    blobs: new BlobStore(server.folder),
    catalog: new Catalog([CatalogModel.parse(NOOP_MODEL)]),
    signingKey: newKey(),
    defaultRecompute: 0,
    prices: PriceTable.free,
    webhooks: new Webhooks(redis, keys),
    egress: { allowPrivate: false },
    limits: new RateLimits(redis, keys),
    logger: createLogger('test', 'error'),
  });
}

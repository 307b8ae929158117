import { Admission } from '../../src/surfaces/admission/admission.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
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
import { TestRedis } from './redis.ts';
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

/** An output token costs one unit of the currency, and nothing else anything. */
export const TOKEN_PRICES = PriceTable.parse(
  JSON.stringify({ version: 1, id: 'v1', currency: 'EUR', models: { noop: { input: 0, output: 1_000_000 } } }),
  'prices',
);

/** A Redis with two admissions for these prices, as of two processes, and an attestor's hand to end jobs. */
export async function twoAdmissions(prices: PriceTable) {
  const server = await TestRedis.start();
  const attestor = server.client('attestor');
  return {
    server,
    admin: server.client(),
    admissions: [admissionTo(server, prices), admissionTo(server, prices)],
    rulings: new Rulings(attestor, server.keys, backlogOf(attestor, server.keys)),
  };
}

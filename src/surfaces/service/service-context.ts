import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { BatchFiles } from '../batches/batch-files.store.ts';
import { Batches } from '../batches/batch.store.ts';
import { BlobStore } from '../../ground/blobs/blob-store.ts';
import { FairQueues } from '../../ground/bull/fair-queues.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { JobReader } from '../../core/jobs/job.reader.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { publishedLog } from '../../core/jobs/published-log.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { LogReader } from '../../proof/tlog/log-reader.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { Completions } from '../openai/completions.ts';
import { readCatalog, type Catalog } from '../../core/catalog/catalog.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { KeyringFile } from '../../proof/receipts/keyring.ts';
import { openRedis, redisAccess, whenReady } from '../../ground/redis/connection.ts';
import { requireFitRedis } from '../../ground/redis/requirements.ts';
import { ApiKeys } from '../tenants/api-key.store.ts';
import { RateLimits } from '../tenants/rate-limits.ts';
import { PaymentRecords } from '../payments/payment.store.ts';
import { readPaymentTerms, type PaymentTerms } from '../payments/payment-terms.ts';
import { PriceTable } from '../ledger/price-table.ts';
import type { EgressRules } from '../webhooks/egress.ts';
import { Webhooks } from '../webhooks/webhook.store.ts';
import { UsageStore } from '../ledger/usage.store.ts';
import { Admission } from '../admission/admission.ts';
import type { ServiceConfig } from './service-config.ts';

const REDIS_START_MS = 10_000;

/** Where jobs are handed in and their answers handed out: what the API and the courier have in common. */
export interface ServiceContext {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly catalog: Catalog;
  readonly keyring: KeyringFile;
  readonly signingKey: SigningKey;
  readonly log: LogReader;
  readonly wake: Wake;
  readonly jobs: Jobs;
  readonly admission: Admission;
  readonly completions: Completions;
  readonly files: BatchFiles;
  readonly batches: Batches;
  readonly apiKeys: ApiKeys;
  readonly limits: RateLimits;
  readonly usage: UsageStore;
  readonly prices: PriceTable;
  readonly webhooks: Webhooks;
  readonly payments: PaymentRecords;
  /** Where requests are sold to whoever has no key. */
  readonly paymentTerms: PaymentTerms | undefined;
  readonly egress: EgressRules;
  close(): Promise<void>;
}

/** Checks key, keyring, catalog and Redis, and opens everything. Throws CodedErrors that say what to do. */
export async function openServiceContext(config: ServiceConfig, logger: Logger): Promise<ServiceContext> {
  const signingKey = readSigningKey(config.COUNTERSIGN_TICKET_KEY_FILE);
  const trust = readKeyring(config.COUNTERSIGN_KEYRING);
  if (!trust.of('api').some((key) => key.id === signingKey.public.id)) {
    throw new CodedError(
      'key_file_unfit',
      `The API's key ${signingKey.public.id.slice(0, 16)}… is not in ${config.COUNTERSIGN_KEYRING}: nobody would believe its tickets.`,
    );
  }
  const [ownLog] = trust.logPolicy.logs;
  if (ownLog === undefined) throw new CodedError('key_file_unfit', `${config.COUNTERSIGN_KEYRING} names no log.`);
  const keyring = KeyringFile.parse(JSON.parse(readFileSync(config.COUNTERSIGN_KEYRING, 'utf8')));
  const catalog = readCatalog(config.COUNTERSIGN_CATALOG);
  const prices = config.COUNTERSIGN_PRICES === undefined ? PriceTable.free : PriceTable.read(config.COUNTERSIGN_PRICES);
  const paymentTerms =
    config.COUNTERSIGN_X402 === undefined ? undefined : readPaymentTerms(config.COUNTERSIGN_X402, prices.currency);
  const keys = new RedisKeys(config.COUNTERSIGN_SHARD);
  const access = redisAccess(config, 'api');
  const redis = openRedis(access, 'prompt', logger);
  const blocking = openRedis(access, 'patient', logger);
  // BullMQ waits for its connection; a prompt one would reject what is sent during an outage, which the sweep repairs.
  const queueRedis: Redis = openRedis(access, 'prompt', logger);
  try {
    await Promise.all([whenReady(redis, REDIS_START_MS), whenReady(queueRedis, REDIS_START_MS)]);
    await requireFitRedis(redis, 'api');
  } catch (cause) {
    for (const connection of [redis, blocking, queueRedis]) connection.disconnect();
    if (cause instanceof CodedError) throw cause;
    throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, { cause });
  }
  const blobs = new BlobStore(config.COUNTERSIGN_BLOBS);
  const limits = new RateLimits(redis, keys);
  const webhooks = new Webhooks(redis, keys);
  const egress: EgressRules = { allowPrivate: config.COUNTERSIGN_WEBHOOK_PRIVATE === 'allow' };
  const wake = new Wake(blocking, keys, logger);
  wake.start();
  const reader = new JobReader(redis, keys, keys.open);
  const log = new LogReader(new LogFiles(config.COUNTERSIGN_TLOG), ownLog.key, publishedLog(redis, keys));
  const payments = new PaymentRecords(redis, keys);
  const jobs = new Jobs({ redis, keys, reader, blobs, wake, log, keyring: trust, withholding: payments });
  const admission = new Admission({
    redis,
    keys,
    queues: FairQueues.ofPools(queueRedis, keys),
    blobs,
    catalog,
    signingKey,
    defaultRecompute: config.COUNTERSIGN_DEFAULT_RECOMPUTE,
    prices,
    limits,
    webhooks,
    egress,
    logger,
  });
  const files = new BatchFiles(redis, keys, new BlobStore(config.COUNTERSIGN_FILES));
  return {
    redis,
    keys,
    catalog,
    keyring,
    signingKey,
    log,
    wake,
    jobs,
    admission,
    completions: new Completions({ admission, jobs, wake }),
    files,
    batches: new Batches(redis, keys),
    apiKeys: new ApiKeys(redis, keys),
    limits,
    prices,
    webhooks,
    payments,
    paymentTerms,
    egress,
    usage: new UsageStore(redis, keys),
    async close() {
      await wake.stop();
      redis.disconnect();
      queueRedis.disconnect();
    },
  };
}

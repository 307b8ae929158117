import type { Redis } from 'ioredis';
import { BlobStore } from '../blobs/blob-store.ts';
import { FairQueues } from '../bull/fair-queues.ts';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { JobKeys } from '../jobs/job.keys.ts';
import { JobReader } from '../jobs/job.reader.ts';
import { readSigningKey } from '../keys/key-file.ts';
import { LogFiles } from '../log/log-files.ts';
import { LogReader } from '../log/log-reader.ts';
import type { Logger } from '../logging/logger.ts';
import { readCatalog } from '../pools/catalog.ts';
import { readFileSync } from 'node:fs';
import { KeyringFile } from '../receipts/keyring.ts';
import { readKeyring } from '../receipts/keyring-file.ts';
import { openRedis, redisAccess, whenReady } from '../redis/connection.ts';
import { requireFitRedis } from '../redis/requirements.ts';
import { ApiKeys } from '../tenants/api-key.store.ts';
import { Admission } from '../admission/admission.ts';
import type { ApiConfig } from './api-config.ts';
import { Directory } from './directory.ts';
import { publishedLog } from './published-log.ts';
import { EventStreams } from './event-streams.ts';
import { Jobs } from '../jobs/jobs.ts';
import { Metrics } from './metrics.ts';
import { Wake } from '../jobs/wake.ts';

const REDIS_START_MS = 10_000;

/** The nouns that the controllers call, and how they are ended. */
export interface ApiParts {
  readonly admission: Admission;
  readonly jobs: Jobs;
  readonly streams: EventStreams;
  readonly wake: Wake;
  readonly directory: Directory;
  readonly log: LogReader;
  readonly metrics: Metrics;
  readonly apiKeys: ApiKeys;
  close(): Promise<void>;
}

/** Checks key, keyring, catalog and Redis, and opens everything. Throws CodedErrors that say what to do. */
export async function openApi(config: ApiConfig, logger: Logger): Promise<ApiParts> {
  const signingKey = readSigningKey(config.COUNTERSIGN_API_KEY_FILE);
  const trust = readKeyring(config.COUNTERSIGN_KEYRING);
  if (!trust.of('api').some((key) => key.id === signingKey.public.id)) {
    throw new CodedError(
      'key_file_unfit',
      `The API's key ${signingKey.public.id.slice(0, 16)}… is not in ${config.COUNTERSIGN_KEYRING}: nobody would believe its tickets.`,
    );
  }
  const keyring = KeyringFile.parse(JSON.parse(readFileSync(config.COUNTERSIGN_KEYRING, 'utf8')));
  const catalog = readCatalog(config.COUNTERSIGN_CATALOG);
  const keys = new JobKeys(config.COUNTERSIGN_SHARD);
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
  const wake = new Wake(blocking, keys, logger);
  wake.start();
  const reader = new JobReader(redis, keys, keys.open);
  const [ownLog] = trust.logPolicy.logs;
  if (ownLog === undefined) throw new CodedError('key_file_unfit', `${config.COUNTERSIGN_KEYRING} names no log.`);
  const log = new LogReader(new LogFiles(config.COUNTERSIGN_LOG), ownLog.key, publishedLog(redis, keys));
  const jobs = new Jobs({ redis, keys, reader, blobs, wake, log, keyring: trust });
  const streams = new EventStreams({
    most: config.COUNTERSIGN_MAX_STREAMS,
    mostPerKey: config.COUNTERSIGN_MAX_STREAMS_PER_KEY,
  });
  const directory = new Directory({ redis, keys, catalog, keyring });
  const queues = FairQueues.ofPools(queueRedis, keys);
  const admission = new Admission({
    redis,
    keys,
    queues,
    blobs,
    catalog,
    signingKey,
    defaultRecompute: config.COUNTERSIGN_DEFAULT_RECOMPUTE,
    logger,
  });
  return {
    admission,
    jobs,
    streams,
    wake,
    directory,
    log,
    metrics: new Metrics(directory, streams),
    apiKeys: new ApiKeys(redis, keys),
    async close() {
      streams.closeAll();
      await wake.stop();
      redis.disconnect();
      queueRedis.disconnect();
    },
  };
}

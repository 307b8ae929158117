import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { SecretsKeys } from '../../src/ground/keys/secrets-keys.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { KEY_TABLE, type FamilyName } from '../../src/ground/redis/key-table.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { Batches, newBatchId } from '../../src/surfaces/batches/batch.store.ts';
import { newFileId } from '../../src/surfaces/batches/batch-files.store.ts';
import { TenantDeleter } from '../../src/surfaces/offboarding/tenant-deleter.ts';
import { TenantDeletions } from '../../src/surfaces/offboarding/tenant-deletions.ts';
import { MemoryClient } from '../../src/surfaces/memory/memory-client.ts';
import { newScheduleId, Schedules } from '../../src/surfaces/schedules/schedule.store.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Tenants } from '../../src/surfaces/tenants/tenant.store.ts';
import { WorkStops } from '../../src/surfaces/tenants/work-stops.ts';
import { WebhookMessages, newMessageId } from '../../src/surfaces/webhooks/webhook-messages.store.ts';
import { JOB_ENDPOINT, Webhooks, newWebhookId } from '../../src/surfaces/webhooks/webhook.store.ts';
import { completion } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { api, newKey } from '../support/sample-receipts.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

/** Nothing of a tenant stands in it: it is about workers, attestors, models or the log. */
const NOBODYS = 'nobody';
/** The deletion removes what a tenant has in it. */
const REMOVED = 'removed';
/** Something of a deleted tenant may stand in it, for this reason. */
interface Stays {
  readonly stays: string;
}

const OF_OPEN_JOBS: Stays = { stays: 'goes with the end of each job, and the deletion waits until none is open' };
const OF_OPEN_BATCHES: Stays = { stays: 'goes with the end of each batch, and the deletion waits until none is open' };
const STUBS: Stays = { stays: 'stubs without content, as long as the job is kept' };
const BOOKS: Stays = { stays: 'the books, which the law wants and ledger check reads' };
const EXPIRES: Stays = { stays: 'numbers, digests and ids that expire' };
const PROOF: Stays = { stays: 'says that the tenant was, and is no more' };

/**
 * What becomes of each family of keys when a tenant is deleted. A new family has to be put here; one that a
 * tenant's things stand in is either removed, which the test below tries, or has a reason to stay.
 */
const FATES: Readonly<Record<FamilyName, typeof NOBODYS | typeof REMOVED | Stays>> = {
  ticket: OF_OPEN_JOBS,
  job: OF_OPEN_JOBS,
  claims: OF_OPEN_JOBS,
  evidence: OF_OPEN_JOBS,
  ruling: OF_OPEN_JOBS,
  lease: OF_OPEN_JOBS,
  chunks: { stays: 'provisional output goes with the erasure of its job' },
  attest: OF_OPEN_JOBS,
  poolQueues: OF_OPEN_JOBS,
  worker: NOBODYS,
  workers: NOBODYS,
  barred: NOBODYS,
  enrolled: NOBODYS,
  hardware: NOBODYS,
  gatewayChallenge: NOBODYS,
  gatewaySession: NOBODYS,
  enrolmentAsks: NOBODYS,
  enrolmentRefusals: NOBODYS,
  open: OF_OPEN_JOBS,
  backlog: OF_OPEN_JOBS,
  heldBack: OF_OPEN_JOBS,
  runningLimits: REMOVED,
  atWork: EXPIRES,
  later: OF_OPEN_JOBS,
  dueTurns: OF_OPEN_JOBS,
  outOfTurn: OF_OPEN_JOBS,
  turnDebts: { stays: 'the name and a place in a queue, until the queue is empty' },
  released: OF_OPEN_JOBS,
  packs: OF_OPEN_JOBS,
  leases: OF_OPEN_JOBS,
  ready: OF_OPEN_JOBS,
  confirmations: OF_OPEN_JOBS,
  running: OF_OPEN_JOBS,
  pace: NOBODYS,
  poolStates: NOBODYS,
  emptying: NOBODYS,
  learned: { stays: 'the name and how long its jobs are beside others, until 200 others were confirmed' },
  cancels: OF_OPEN_JOBS,
  fairShares: { stays: 'the name and a place in a queue, until the queue is empty' },
  attestorQueue: OF_OPEN_JOBS,
  aside: OF_OPEN_JOBS,
  asideWhy: OF_OPEN_JOBS,
  idempotency: EXPIRES,
  openOf: OF_OPEN_JOBS,
  record: STUBS,
  unsealed: OF_OPEN_JOBS,
  erasures: { stays: 'the wishes, until they are carried out, which the deletion waits for' },
  rewrite: { stays: 'counts of erasures, of nobody in particular' },
  ended: STUBS,
  endedOf: STUBS,
  retention: NOBODYS,
  overfull: { stays: 'the name, until the stubs are fewer' },
  attestor: NOBODYS,
  attestors: NOBODYS,
  challenges: NOBODYS,
  layout: NOBODYS,
  registry: NOBODYS,
  audited: NOBODYS,
  suspicion: NOBODYS,
  quarantined: NOBODYS,
  log: NOBODYS,
  logTail: { stays: 'entries of the log: salted digests' },
  recovered: OF_OPEN_JOBS,
  logDraws: NOBODYS,
  logDocuments: { stays: 'entries of the log: digests of its closed months' },
  apiKey: REMOVED,
  apiKeys: REMOVED,
  session: EXPIRES,
  loginLink: EXPIRES,
  tenant: PROOF,
  tenants: PROOF,
  tenantDeletions: REMOVED,
  deletionLease: EXPIRES,
  workStops: REMOVED,
  limit: EXPIRES,
  audit: PROOF,
  noted: NOBODYS,
  auditBase: PROOF,
  account: BOOKS,
  spent: EXPIRES,
  ledger: BOOKS,
  ledgers: BOOKS,
  ledgerPeriods: BOOKS,
  logRequests: BOOKS,
  usage: EXPIRES,
  payment: EXPIRES,
  payments: { stays: 'payments that are due, until they are settled' },
  jobEnds: NOBODYS,
  historyErasures: { stays: 'ids of jobs, until a courier has erased them in the history' },
  jobEndsLease: NOBODYS,
  memoryWork: { stays: 'ids of jobs, until a courier finds them erased' },
  recentDuration: NOBODYS,
  listeners: REMOVED,
  eventCursor: OF_OPEN_JOBS,
  feed: REMOVED,
  webhooks: REMOVED,
  webhookMessage: REMOVED,
  webhookMessages: REMOVED,
  webhookQueue: REMOVED,
  webhookHealth: REMOVED,
  webhookWaiting: REMOVED,
  webhookLost: REMOVED,
  webhookMessagesOf: REMOVED,
  tally: NOBODYS,
  refutations: { stays: 'the name and ids of jobs, until 200 other attempts were refuted' },
  file: REMOVED,
  files: REMOVED,
  filesGone: { stays: 'digests, until a courier has removed the bytes' },
  filesOf: REMOVED,
  batch: REMOVED,
  batchParts: OF_OPEN_BATCHES,
  batchJobs: { stays: 'ids of jobs, until the window of their batch is over' },
  batchLease: EXPIRES,
  batches: OF_OPEN_BATCHES,
  batchesOf: REMOVED,
  schedule: REMOVED,
  schedules: REMOVED,
  schedulesOf: REMOVED,
};
const isFamily = (name: string): name is FamilyName => Object.hasOwn(KEY_TABLE, name);
const FAMILIES = Object.keys(KEY_TABLE).filter(isFamily);

let server: TestRedis;
let redis: Redis;
let admin: Redis;

beforeAll(async () => {
  server = await TestRedis.start();
  redis = server.client('api');
  admin = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Everything that a tenant can have, as its stores write it; what only couriers write, as they do. */
async function settle(tenant: string): Promise<string[]> {
  const { keys } = server;
  await new Tenants(redis, keys, new AuditLog(redis, keys)).create('test', tenant, { running_jobs: 3 });
  const { keyId } = await new ApiKeys(redis, keys).create('test', {
    tenant,
    scopes: ['submit'],
    limits: { running_jobs: 2 },
  });
  const [createdMs, expiresMs] = [Date.now(), Date.now() + 3_600_000];
  const record = { tenant, keyId, filename: tenant, sha256: 'f'.repeat(64), bytes: 9, createdMs, expiresMs };
  const batches = new Batches(redis, keys);
  const batch = { tenant, keyId, endpoint: '/v1/completions' as const, inputFile: '', inputSha256: '', metadata: {} };
  const { id } = await batches.create(newBatchId(), batch);
  const held = { id, holder: tenant };
  await batches.hold(held, 60_000, 'take');
  const file = { ...record, id: newFileId(), purpose: 'batch_output' as const };
  expect(await batches.end(held, 'failed', {}, [file])).toBe(true);
  // Its end is entered: it is no open one any more.
  await redis.zrem(keys.batches, id);
  const schedule = newScheduleId();
  await new Schedules(redis, keys).create(
    {
      ...{ id: schedule, name: tenant, metadata: {}, cron: '@yearly', timezone: 'UTC', overlap: 'skip' },
      ...{ catchUp: 'none', startMs: null, endMs: null, tenant, keyId, createdMs, pausedMs: null },
      ...{ pausedBecause: null, nextMs: expiresMs, waiting: null, lastJob: null, runs: [] },
      request: SubmitJob.parse(completion(tenant)),
    },
    { by: keyId, action: 'schedule.create', detail: {} },
  );
  return [keyId, file.id, id, schedule, ...(await listen(tenant))];
}

/** Endpoints, messages of each kind, and what is known of their queues. Returns ids. */
async function listen(tenant: string): Promise<string[]> {
  const { keys } = server;
  const webhooks = new Webhooks(redis, keys, new SecretsKeys(newKey()));
  const id = newWebhookId();
  const wanted = { url: 'https://example.com/', events: [], format: 'standard' as const, description: tenant };
  const endpoint = await webhooks.create(tenant, id, wanted);
  const sent = await new WebhookMessages(redis, keys).sendTest(tenant, endpoint);
  await webhooks.listen(tenant);
  await webhooks.rotateJobSecret(tenant, 0);
  expect(await webhooks.disable(tenant, endpoint, 'dead')).toBe(true);
  const own = newMessageId();
  const target = `${JOB_ENDPOINT}~7`;
  await redis.hset(keys.webhookMessage(own), { tenant, endpoint: JOB_ENDPOINT, url: 'https://example.org/' });
  await redis.zadd(keys.webhookQueue(tenant, target), 1, own);
  await redis.zadd(keys.webhookMessages, 1, `${tenant} ${target}`);
  await redis.hset(keys.webhookHealth, `${tenant} ${target}`, '1 2 3');
  await redis.hset(keys.webhookLost, `${tenant} wh_that_was_deleted`, 1);
  return [id, sent.id, own];
}

/** The books of a tenant, which nobody may take away. */
async function keepBooks(tenant: string): Promise<void> {
  const { keys } = server;
  await redis.hset(keys.account(tenant), 'EUR:spent', 7);
  await redis.hsetnx(keys.ledger(tenant, '2026-11'), 'job', tenant);
  await redis.sadd(keys.ledgers, `${tenant} 2026-11`);
  await redis.hsetnx(keys.ledgerPeriods(tenant), '2026-10', tenant);
}

/** The families in which a text stands, in a key or anywhere behind it. */
async function familiesWith(texts: readonly string[]): Promise<Set<FamilyName>> {
  const found = new Set<FamilyName>();
  for (const key of await admin.keys('*')) {
    const content = `${key} ${JSON.stringify(await contentOf(key))}`;
    if (texts.some((text) => content.includes(text))) found.add(familyOf(key));
  }
  return found;
}

async function contentOf(key: string): Promise<unknown> {
  const type = await admin.type(key);
  if (type === 'hash') return admin.hgetall(key);
  if (type === 'string') return admin.get(key);
  if (type === 'set') return admin.smembers(key);
  if (type === 'zset') return admin.zrange(key, '0', '-1');
  if (type === 'stream') return admin.xrange(key, '-', '+');
  throw new Error(`${key} is a ${type}`);
}

function familyOf(key: string): FamilyName {
  const rest = key.slice(server.keys.prefix.length).replace(/^@\w+:/, '');
  const family = FAMILIES.find((name) => {
    const { name: word, parts } = KEY_TABLE[name];
    return new RegExp(`^${word}${':[^:]+'.repeat(parts.length)}$`).test(rest);
  });
  if (family === undefined) throw new Error(`${key} is of no family`);
  return family;
}

test('a deleted tenant: every family that it had something in is emptied of it, or has a reason to keep it', async () => {
  expect(Object.keys(FATES).toSorted()).toEqual(FAMILIES.toSorted());
  const { keys } = server;
  const left = ['leaving', ...(await settle('leaving'))];
  const right = ['staying', ...(await settle('staying'))];
  for (const tenant of ['leaving', 'staying']) await keepBooks(tenant);
  const deletions = new TenantDeletions(redis, keys, new AuditLog(redis, keys));
  await deletions.ask('test', 'leaving');
  const [before, others] = [await familiesWith(left), await familiesWith(right)];
  const removed = FAMILIES.filter((name) => FATES[name] === REMOVED);
  expect([...before]).toEqual(expect.arrayContaining(removed));

  const deleter = new TenantDeleter(
    {
      ...{ redis, keys, deletions, audit: new AuditLog(redis, keys), signingKey: api },
      archive: new JobArchive(new FolderTree(server.folder)),
      memory: new MemoryClient(undefined),
    },
    createLogger('courier', 'silent'),
    'test',
  );
  // As long as work may still be made it goes no further.
  expect(await deleter.step('leaving')).toBe(false);
  const stops = new WorkStops(redis, keys);
  for (const stop of await stops.list()) await stops.carriedOut(stop);
  // Nor before the last end is entered.
  await admin.zadd(keys.ended, 5, 'job');
  await deleter.step('leaving');
  expect(await deleter.step('leaving')).toBe(false);
  await redis.hset(keys.jobEnds, 'cursor', '5');
  while (await deleter.step('leaving'));

  expect((await deletions.get('leaving')).account).toBeDefined();
  const after = await familiesWith(left);
  expect([...after].filter((name) => typeof FATES[name] === 'string')).toEqual([]);
  for (const name of ['account', 'ledger', 'ledgers', 'ledgerPeriods', 'tenant', 'tenants', 'audit'] as const)
    expect([name, after.has(name)]).toEqual([name, true]);
  expect(await familiesWith(right)).toEqual(others);
  const detail = expect.objectContaining({
    removed: {
      jobs: 0,
      files: 1,
      file_bytes: 9,
      batches: 1,
      schedules: 1,
      webhooks: 1,
      webhook_messages: 2,
      owners: 0,
      keys: 1,
    },
  });
  const { text } = await new AuditLog(redis, keys).head();
  expect(JSON.parse(text ?? '')).toMatchObject({ action: 'tenant.deleted', target: 'leaving', detail });
});

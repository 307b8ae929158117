import { Redis } from 'ioredis';
import { AuditLog, hset, type Change } from '../../core/audit/audit-log.ts';
import type { JobArchive } from '../../core/jobs/job-archive.ts';
import { recordHead } from '../../core/jobs/job-record.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import type { MemoryClient } from '../memory/memory-client.ts';
import { JOB_ENDPOINT } from '../webhooks/webhook.store.ts';
import { DELETION_STEPS, type DeletionState, type DeletionStep, type TenantDeletions } from './tenant-deletions.ts';

const LOOK_EVERY_MS = 500;
const LEASE_MS = 30_000;
/** Things that one step removes at once. */
const PAGE = 200;
/** The payload type of the account, which is signed as a DSSE envelope. */
export const DELETION_TYPE = 'application/vnd.countersign.tenant-deletion+json';

interface DeleterParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly deletions: TenantDeletions;
  readonly audit: AuditLog;
  readonly archive: JobArchive;
  readonly signingKey: SigningKey;
  readonly memory: MemoryClient;
}

/** What a deletion does next: changes, and how far it is with them. */
interface Chunk {
  readonly changes: readonly Change[];
  readonly state: DeletionState;
}

/**
 * Carries deletions of tenants out, in chunks. A chunk and the note how far the deletion is are one
 * transaction: a crash leaves it before or after, and any courier goes on. A lease keeps two couriers from
 * counting twice.
 *
 *   work      waits until no job and no batch of the tenant is open, and what they came to is entered
 *   jobs      wishes for the erasure of the jobs that Redis keeps, which attestors carry out
 *   archive   the same for those that only the archive has, tile by tile
 *   files, batches, schedules, webhooks, memories, history, keys
 *   erasures  waits until the wishes are carried out; then the account is signed and written down
 */
export class TenantDeleter {
  readonly #parts: DeleterParts;
  readonly #owner: string;
  readonly #task: PeriodicTask;

  constructor(parts: DeleterParts, logger: Logger, owner: string) {
    this.#parts = parts;
    this.#owner = owner;
    this.#task = new PeriodicTask(
      () => this.#look(),
      (error) => logger.warn(`deleting a tenant: ${messageOf(error).slice(0, 300)}; it is tried again`),
      LOOK_EVERY_MS,
    );
  }

  start(): void {
    this.#task.start();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #look(): Promise<number> {
    const { redis, keys, deletions } = this.#parts;
    let didMore = false;
    for (const tenant of await deletions.underWay()) {
      const lease = keys.deletionLease(tenant);
      const held = (await redis.set(lease, this.#owner, 'PX', LEASE_MS, 'NX')) ?? (await redis.get(lease));
      if (held !== 'OK' && held !== this.#owner) continue;
      await redis.pexpire(lease, LEASE_MS);
      if (await this.step(tenant)) didMore = true;
    }
    return didMore ? 0 : LOOK_EVERY_MS;
  }

  /** Does the next chunk of a deletion. Returns whether there may be more to do at once. */
  async step(tenant: string): Promise<boolean> {
    const { redis, deletions } = this.#parts;
    const state = await deletions.state(tenant);
    if (state === undefined) return false;
    const chunk = await this.#chunk(tenant, state);
    if (chunk === undefined) return false;
    if (chunk === 'over') {
      await this.#finish(tenant, state);
      return false;
    }
    const multi = redis.multi();
    for (const [name, ...words] of [...chunk.changes, deletions.written(tenant, chunk.state)])
      multi.call(String(name), ...words.map(String));
    for (const [error] of (await multi.exec()) ?? []) if (error) throw error;
    return true;
  }

  #chunk(tenant: string, state: DeletionState): Promise<Chunk | 'over' | undefined> {
    switch (state.step) {
      case 'work':
        return this.#work(tenant, state);
      case 'jobs':
        return this.#jobs(tenant, state);
      case 'archive':
        return this.#archived(tenant, state);
      case 'files':
        return this.#files(tenant, state);
      case 'batches':
        return this.#batches(tenant, state);
      case 'schedules':
        return this.#schedules(tenant, state);
      case 'webhooks':
        return this.#webhooks(tenant, state);
      case 'memories':
        return this.#memories(tenant, state);
      case 'history':
        return this.#history(tenant, state);
      case 'keys':
        return this.#apiKeys(tenant, state);
      case 'erasures':
        return this.#erasures(state);
    }
  }

  /**
   * Requests that were on their way may still have made work: the wish to stop it stands until none can. The
   * last ends are entered too, so that no event and no message of theirs is written later.
   */
  async #work(tenant: string, state: DeletionState): Promise<Chunk | undefined> {
    const { redis, keys } = this.#parts;
    if ((await redis.hexists(keys.workStops, tenant)) === 1) return undefined;
    if ((await redis.zcard(keys.openOf(tenant))) > 0) return undefined;
    for (const id of await redis.zrange(keys.batches, '0', '-1'))
      if ((await redis.hget(keys.batch(id), 'tenant')) === tenant) return undefined;
    const [, newest] = await redis.zrange(keys.ended, '-1', '-1', 'WITHSCORES');
    const last = state.at ?? Number(newest ?? 0);
    const entered = Number((await redis.hget(keys.jobEnds, 'cursor')) ?? 0);
    if (entered >= last) return nextStep(state);
    return state.at === undefined ? { changes: [], state: { ...state, at: last } } : undefined;
  }

  /** From the newest to the oldest, by rank: what is forgotten meanwhile only moves what is ahead nearer. */
  async #jobs(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys } = this.#parts;
    const end = state.at ?? (await redis.zcard(keys.endedOf(tenant)));
    if (end <= 0) return nextStep(state);
    const begin = Math.max(0, end - PAGE);
    const ids = await redis.zrange(keys.endedOf(tenant), String(begin), String(end - 1));
    return {
      changes: await this.#wishes(ids),
      state: { ...state, at: begin, removed: { ...state.removed, jobs: state.removed.jobs + ids.length } },
    };
  }

  async #archived(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys, archive } = this.#parts;
    const checkpoint = await archive.newestCheckpoint();
    const size = checkpoint === undefined ? 0 : parseCheckpoint(checkpoint).size;
    const tile = state.at ?? 0;
    if (tile * TILE_WIDTH >= size) return nextStep(state);
    const ids: string[] = [];
    for await (const { index, job } of archive.read(tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH)) {
      if (job === undefined || recordHead(job.record).tenant !== tenant) continue;
      if ((await archive.erasures.at(job.id, index)) !== undefined) continue;
      // One that Redis has was counted, and wished for, in the step before.
      if ((await redis.exists(keys.record(job.id))) === 0) ids.push(job.id);
    }
    return {
      changes: await this.#wishes(ids),
      state: { ...state, at: tile + 1, removed: { ...state.removed, jobs: state.removed.jobs + ids.length } },
    };
  }

  async #files(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys } = this.#parts;
    const ids = await redis.zrange(keys.filesOf(tenant), '0', String(PAGE - 1));
    if (ids.length === 0) return nextStep(state);
    const found = await Promise.all(ids.map((id) => redis.hmget(keys.file(id), 'sha256', 'bytes')));
    const digests = found.flatMap(([sha256]) => (typeof sha256 === 'string' ? [sha256] : []));
    const bytes = found.reduce((sum, [, size]) => sum + Number(size ?? 0), 0);
    const { files, file_bytes } = state.removed;
    return {
      changes: [
        ...ids.map((id): Change => ['UNLINK', keys.file(id)]),
        ['ZREM', keys.filesOf(tenant), ...ids],
        ['ZREM', keys.files, ...ids],
        ...digests.map((sha256): Change => ['ZADD', keys.filesGone, Date.now(), sha256]),
      ],
      state: { ...state, removed: { ...state.removed, files: files + ids.length, file_bytes: file_bytes + bytes } },
    };
  }

  /** The pieces of their results went when they were over. */
  async #batches(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys } = this.#parts;
    const ids = await redis.zrange(keys.batchesOf(tenant), '0', String(PAGE - 1));
    if (ids.length === 0) return nextStep(state);
    return {
      changes: [
        ...ids.map((id): Change => ['UNLINK', keys.batch(id)]),
        ['ZREM', keys.batchesOf(tenant), ...ids],
        ['ZREM', keys.batches, ...ids],
      ],
      state: { ...state, removed: { ...state.removed, batches: state.removed.batches + ids.length } },
    };
  }

  async #schedules(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys } = this.#parts;
    const ids = await redis.zrange(keys.schedulesOf(tenant), '0', String(PAGE - 1));
    if (ids.length === 0) return nextStep(state);
    return {
      changes: [
        ...ids.map((id): Change => ['UNLINK', keys.schedule(id)]),
        ['ZREM', keys.schedules, ...ids],
        ['ZREM', keys.schedulesOf(tenant), ...ids],
      ],
      state: { ...state, removed: { ...state.removed, schedules: state.removed.schedules + ids.length } },
    };
  }

  /**
   * Messages first, those that wait and those that are remembered, then the endpoints that name them and what
   * is known of these, then what was told to everyone of the tenant.
   */
  async #webhooks(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys } = this.#parts;
    const isOfTenant = (name: string) => name.startsWith(`${tenant} `);
    const queues = (await redis.zrange(keys.webhookMessages, '0', '-1')).filter(isOfTenant);
    const endpoints = await redis.hkeys(keys.webhooks(tenant));
    const { webhooks, webhook_messages } = state.removed;
    for (const index of [
      ...queues.map((name) => keys.webhookQueue(tenant, name.slice(tenant.length + 1))),
      ...new Set([...endpoints, JOB_ENDPOINT].map((endpoint) => keys.webhookMessagesOf(tenant, endpoint))),
    ]) {
      const ids = await redis.zrange(index, '0', String(PAGE - 1));
      if (ids.length === 0) continue;
      const messages = ids.map((id) => keys.webhookMessage(id));
      // One that waits is remembered too, and counts once.
      const count = await redis.exists(...messages);
      return {
        changes: [
          ['UNLINK', ...messages],
          ['ZREM', index, ...ids],
        ],
        state: { ...state, removed: { ...state.removed, webhook_messages: webhook_messages + count } },
      };
    }
    const known = new Set([
      ...queues,
      ...(await redis.hkeys(keys.webhookHealth)).filter(isOfTenant),
      ...(await redis.hkeys(keys.webhookLost)).filter(isOfTenant),
    ]);
    const { changes, state: next } = nextStep(state);
    const made = endpoints.filter((id) => id !== JOB_ENDPOINT).length;
    return {
      changes: [
        ...changes,
        ['UNLINK', keys.webhooks(tenant)],
        ['UNLINK', keys.feed(tenant)],
        ['HDEL', keys.listeners, tenant],
        ['HDEL', keys.webhookWaiting, tenant],
        ...[...known].flatMap((name): Change[] => [
          ['ZREM', keys.webhookMessages, name],
          ['HDEL', keys.webhookHealth, name],
          ['HDEL', keys.webhookLost, name],
        ]),
      ],
      state: { ...next, removed: { ...next.removed, webhooks: webhooks + made } },
    };
  }

  /**
   * One owner at a time, once no more of them are made: a request that was on its way when the keys were
   * revoked may still ask for one. The memory erases by itself what it is asked to; a crash in between leaves
   * one that is no longer there, and is counted by the receipt alone.
   */
  async #memories(tenant: string, state: DeletionState): Promise<Chunk> {
    const { memory } = this.#parts;
    if (!memory.isThere) return nextStep(state);
    await memory.call('closeTenant', { tenant });
    const [owner] = await memory.call('owners', { tenant });
    if (owner === undefined) return nextStep(state);
    await memory.call('eraseOwner', { whose: { tenant, owner, by: state.by, sources: null } });
    const { owners } = state.removed;
    return { changes: [], state: { ...state, removed: { ...state.removed, owners: owners + 1 } } };
  }

  /** From here on the history takes in nothing of this tenant. */
  async #history(tenant: string, state: DeletionState): Promise<Chunk> {
    const { memory } = this.#parts;
    const removed = memory.isThere ? await memory.call('forgetTenant', { tenant }) : 0;
    return removed === 0 ? nextStep(state) : { changes: [], state };
  }

  async #apiKeys(tenant: string, state: DeletionState): Promise<Chunk> {
    const { redis, keys } = this.#parts;
    const ids: string[] = [];
    for (const id of await redis.zrange(keys.apiKeys, '0', '-1'))
      if (ids.length < PAGE && (await redis.hget(keys.apiKey(id), 'tenant')) === tenant) ids.push(id);
    if (ids.length === 0) return nextStep(state);
    return {
      changes: [
        ...ids.map((id): Change => ['UNLINK', keys.apiKey(id)]),
        ['ZREM', keys.apiKeys, ...ids],
        ['HDEL', keys.runningLimits, ...ids.map((id) => `${tenant} ${id}`)],
      ],
      state: { ...state, removed: { ...state.removed, keys: state.removed.keys + ids.length } },
    };
  }

  /**
   * Whether a wish of the time of this deletion stands; one of another tenant may be among them, and passes.
   */
  async #erasures({ askedMs, at }: DeletionState): Promise<'over' | undefined> {
    const { redis, keys } = this.#parts;
    const open = await redis.zcount(keys.erasures, askedMs, at ?? askedMs);
    return open === 0 ? 'over' : undefined;
  }

  async #wishes(ids: readonly string[]): Promise<Change[]> {
    const { redis, keys } = this.#parts;
    if (ids.length === 0) return [];
    const [seconds, micros] = await redis.time();
    const nowMs = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    return [['ZADD', keys.erasures, 'LT', ...ids.flatMap((id) => [nowMs, id])]];
  }

  /**
   * The account is signed with the key of tickets, and its digest goes into the audit log with the last
   * change.
   */
  async #finish(tenant: string, { by, askedMs, removed }: DeletionState): Promise<void> {
    const { keys, audit, signingKey } = this.#parts;
    const payload = canonicalJson({
      type: 'countersign/tenant-deletion/v1',
      tenant,
      asked_by: by,
      asked_at: new Date(askedMs).toISOString(),
      finished_at: new Date().toISOString(),
      asked_of_redis: 'to write its append-only file anew',
      removed,
      kept: ['account and ledger', 'stubs of jobs', 'entries of the transparency log', 'audit log'],
    });
    const account = encodeStored(signPayload(signingKey, Buffer.from(payload), DELETION_TYPE));
    const detail = { sha256: sha256Hex(Buffer.from(payload)), removed };
    await audit.with({ by: 'courier', action: 'tenant.deleted', target: tenant, tenant, detail }, [
      hset(keys.tenant(tenant), { account, limits: '{}' }),
      ['HDEL', keys.tenantDeletions, tenant],
      ['HDEL', keys.runningLimits, tenant],
      ['HINCRBY', keys.rewrite, 'wanted', 1],
    ]);
  }
}

/** On to the next step, which notes the time where the last one waits for what was wished until then. */
function nextStep({ by, askedMs, removed, step: before }: DeletionState): Chunk {
  const step: DeletionStep = DELETION_STEPS[DELETION_STEPS.indexOf(before) + 1] ?? 'erasures';
  const at = step === 'erasures' ? { at: Date.now() } : {};
  return { changes: [], state: { by, askedMs, removed, step, ...at } };
}

// The service with two workers and the stand-in engine, each a process of its own, and what traces do to it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dist, keys, openAdmission, openArena, pause, SHARD } from '../arena.mjs';
import { TENANTS } from './trace.mjs';

const { ApiKeys } = await dist('surfaces/tenants/api-key.store.js');
const { Tenants } = await dist('surfaces/tenants/tenant.store.js');
const { AuditLog } = await dist('core/audit/audit-log.js');

export const QUEUE = 'default.stand-in';
/** From the request for a run until its first arrival. */
const STARTS_AFTER_MS = 1_500;

/** `admits`: whether admission refuses what would be late; the control takes everything. */
export async function openPool({ workers, parallel, admits = true }) {
  const entry = { name: 'stand-in', pool: 'default', tasks: ['completion'], engine: 'openai' };
  const engineModel = { remoteModel: 'stand-in', sha256: '0'.repeat(64), parallel };
  const first = await openArena([{ ...entry, ...engineModel, baseUrl: 'http://127.0.0.1:1' }], { workers });
  const { facts: engine } = await first.start('bench/overload/engine.mjs', {});
  const catalog = { version: 1, models: [{ ...entry, ...engineModel, baseUrl: engine.url }] };
  writeFileSync(join(first.folder, 'models.json'), JSON.stringify(catalog));
  const quiet = { COUNTERSIGN_LOG_LEVEL: 'error' };
  const [{ facts: api }] = await Promise.all([
    first.role('api', quiet, [], admits ? undefined : 'bench/overload/open-api.mjs'),
    first.role('attestor', { ...quiet, COUNTERSIGN_RECOMPUTE_MODELS: 'none', COUNTERSIGN_KEEP_JOBS: '1000000' }),
    ...Array.from({ length: workers }, (_, at) =>
      first.role('worker', {
        ...quiet,
        COUNTERSIGN_WORKER_KEY_FILE: join(first.folder, at === 0 ? 'worker.key' : `worker-${at}.key`),
      }),
    ),
  ]);
  const pool = { arena: first, url: api.url, engineUrl: engine.url, slots: workers * parallel, keys: {} };
  await enrolTenants(pool);
  for (;;) {
    if (Number(await first.admin.hget(keys.pace(QUEUE), 'slots')) === pool.slots) return pool;
    await pause(50);
  }
}

async function enrolTenants(pool) {
  const redis = pool.arena.connect('api');
  const tenants = new Tenants(redis, keys, new AuditLog(redis, keys));
  const apiKeys = new ApiKeys(redis, keys);
  for (const { name, weight } of TENANTS) {
    await tenants.create('bench', name, { weight });
    const { text } = await apiKeys.create('bench', { tenant: name, scopes: ['submit', 'read'] });
    pool.keys[name] = text;
  }
  redis.disconnect();
}

/** When the engine worked on what since this was asked last. */
export const workedOn = async ({ engineUrl }) => (await fetch(`${engineUrl}/worked`)).json();

/**
 * Offers a trace. `clients` is what refused ones do: `leave`, `obey` Retry-After, or come back by themselves
 * (`repeat`). Returns what became of each request, and when the engine worked on it.
 */
export async function offer(pool, { trace, deadlineMs, clients = 'leave' }) {
  const { arena } = pool;
  const [askFile, replyFile] = [join(arena.folder, 'ask.json'), join(arena.folder, 'reply.json')];
  await workedOn(pool);
  const startMs = Date.now() + STARTS_AFTER_MS;
  const { path, username, password } = arena.admin.options;
  const redis = { path, username, password };
  const { url, keys: apiKeys } = pool;
  const ask = { url, keys: apiKeys, trace, startMs, deadlineMs, clients, redis, shard: SHARD };
  writeFileSync(askFile, JSON.stringify(ask));
  const [before, machine, beganMs] = [arena.cpuMs(), machineTimes(), performance.now()];
  const { child } = await arena.start('bench/overload/load.mjs', {}, [askFile, replyFile]);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await pause(Math.max(0, startMs + (trace.at(-1)?.atMs ?? 0) - Date.now()));
  const forMs = performance.now() - beganMs;
  const used = { cores: (arena.cpuMs() - before) / forMs, machine: sharesSince(machine) };
  await ended;
  const { asked } = JSON.parse(readFileSync(replyFile, 'utf8'));
  return { asked, startMs, used, worked: await workedOn(pool), slots: pool.slots, deadlineMs };
}

/** Idle and whole time of all cores so far, in ticks. */
function machineTimes() {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n')[0].trim().split(/\s+/).slice(1).map(Number);
  return { idle: ticks[3] + ticks[4], all: ticks.slice(0, 8).reduce((sum, one) => sum + one, 0) };
}

/** How much of all cores was used since, by whomever; with /proc/loadavg at the end. */
function sharesSince(before) {
  const now = machineTimes();
  return {
    busy: 1 - (now.idle - before.idle) / Math.max(1, now.all - before.all),
    loadAverage: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
  };
}

/** Submits jobs of one tenant to the stand-in of a pool past its API; each has an hour. */
export async function openStandIn(pool, parallel) {
  const { admission, close } = await openAdmission(pool.arena, {
    name: 'stand-in',
    pool: 'default',
    tasks: ['completion'],
    engine: 'openai',
    baseUrl: pool.engineUrl,
    remoteModel: 'stand-in',
    sha256: '0'.repeat(64),
    parallel,
  });
  const submit = (prompt) =>
    admission.submit(
      { tenant: 'flood', keyId: 'bench', limits: { tenant: {}, key: {} } },
      {
        model: 'stand-in',
        task: 'completion',
        input: { prompt },
        params: { max_tokens: 64 },
        attestation: { recompute: 0 },
        deadline_ms: 3_600_000,
      },
    );
  return { submit, close };
}

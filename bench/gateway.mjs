// A thousand workers at one gateway: what they cost while nothing is to be done, and how soon a job is with
// one of them.
import { createInterface } from 'node:readline';
import { MODEL, keys, memoryMb, openAdmission, openArena, pause, quantile } from './arena.mjs';

const REAL = 10;
const IDLE_MS = 10_000;
const JOBS = 400;
const EVERY_MS = 50;
const now = () => performance.timeOrigin + performance.now();

async function until(condition) {
  while (!(await condition())) await pause(100);
}

/** CPU time (ms) of the gateway and of Redis so far. */
function cpuOf(arena) {
  const all = new Map(arena.cpuByProcess().map(([name, ms]) => [name?.split('/').slice(-2).join('/') ?? '', ms]));
  return { gateway: all.get('gateway/main.js') ?? 0, redis: all.get('redis') ?? 0 };
}

async function measured(workers, mode, real) {
  const arena = await openArena([MODEL], { workers });
  try {
    const pool = { COUNTERSIGN_POOL: 'default', COUNTERSIGN_REDIS_USER: 'worker.default' };
    const [gateway] = await Promise.all([
      arena.role('gateway', {
        ...pool,
        COUNTERSIGN_BLOBS: `${arena.folder}/blobs/pools/default`,
        COUNTERSIGN_PORT: '0',
        COUNTERSIGN_ADDRESS_RATE: '2000',
      }),
      arena.role('attestor', { COUNTERSIGN_RECOMPUTE_MODELS: 'none' }),
    ]);
    const { url } = gateway.facts;
    await until(async () => (await arena.admin.scard(keys.enrolled('default'))) === workers);
    const environment = (at) => ({
      COUNTERSIGN_GATEWAY_URL: url,
      COUNTERSIGN_CATALOG: `${arena.folder}/models.json`,
      COUNTERSIGN_LOG_LEVEL: 'warn',
      COUNTERSIGN_WORKER_KEY_FILE: `${arena.folder}/worker${at === 0 ? '' : `-${at}`}.key`,
    });
    for (let at = 0; at < real; at += 1) await arena.start('dist/roles/worker/main.js', environment(at));
    const played = await arena.start('bench/gateway-workers.mjs', {}, [
      url,
      arena.folder,
      String(real),
      String(workers),
      mode,
    ]);
    await until(async () => (await arena.admin.zcard(keys.workers('default'))) === workers);
    await pause(3_000);
    const before = cpuOf(arena);
    await pause(IDLE_MS);
    const after = cpuOf(arena);
    const came = new Map();
    createInterface({ input: played.child.stdout }).on('line', (line) => {
      const [, job, at] = /^lease (\S+) (\S+)$/.exec(line) ?? [];
      if (job !== undefined && !came.has(job)) came.set(job, Number(at));
    });
    const { admission, close } = await openAdmission(arena, MODEL);
    const asked = new Map();
    const caller = { tenant: 'bench', keyId: 'bench', limits: { tenant: {}, key: {} } };
    const body = (number) => ({ model: 'noop', task: 'completion', input: { prompt: `${number}` } });
    for (let number = 0; number < JOBS; number += 1) {
      const at = now();
      void admission.submit(caller, body(number)).then(({ id }) => asked.set(id, at));
      await pause(EVERY_MS);
    }
    await until(async () => (await arena.admin.zcard(keys.ended)) === JOBS);
    close();
    const waits = [...came].flatMap(([id, at]) => (asked.has(id) ? [at - asked.get(id)] : []));
    return {
      idle_gateway_cpu: (after.gateway - before.gateway) / IDLE_MS,
      idle_redis_cpu: (after.redis - before.redis) / IDLE_MS,
      gateway_mb: memoryMb(gateway.child.pid).most,
      ms_p50: quantile(waits, 0.5),
      ms_p99: quantile(waits, 0.99),
      leases: waits.length,
    };
  } finally {
    await arena.close();
  }
}

/**
 * Requests of workers wait for jobs (`push`), ten of which are processes; or they are made once a second, by
 * played workers alone (`poll`): who waits is always there first.
 */
export async function benchGateway({ workers }, say) {
  const found = {};
  for (const [mode, real] of [
    ['push', REAL],
    ['poll', 0],
  ]) {
    found[mode] = await measured(workers, mode, real);
    say(`gateway ${mode} ${JSON.stringify(found[mode])}`);
  }
  return { gateway: { workers, ...found } };
}

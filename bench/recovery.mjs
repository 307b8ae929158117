// How soon a lost worker's job waits again, and an expired one is ended, with nothing and with much waiting.
import { MODEL, dist, keys, median, openAdmission, openArena, pause } from './arena.mjs';

const { Claims } = await dist('core/execution/claims.js');
const { newJobId } = await dist('core/jobs/job-id.js');

const LEASE_MS = 2_000;
const DEADLINE_MS = 1_500;
const QUEUE = 'default.noop';
const SUBMITTER = { tenant: 'bench', keyId: 'bench', limits: { tenant: {}, key: {} } };

/** Copies the documents of a job under other ids, which wait behind all others. */
const COPY = `
  local job, ticket = redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])
  for at = 2, #ARGV do
    redis.call('HSET', (string.gsub(KEYS[1], ARGV[1], ARGV[at])), unpack(job))
    redis.call('HSET', (string.gsub(KEYS[2], ARGV[1], ARGV[at])), unpack(ticket))
    redis.call('HSET', (string.gsub(KEYS[2], ARGV[1], ARGV[at])), 'deadline', 9e12)
    redis.call('ZADD', KEYS[3], 1e6 + at, ARGV[at])
    redis.call('ZADD', KEYS[4], 9e12, ARGV[at])
  end`;

async function fill(admin, id, count) {
  const names = [keys.job(id), keys.ticket(id), keys.backlog(QUEUE), keys.open];
  for (let done = 0; done < count; done += 500) {
    const ids = Array.from({ length: Math.min(500, count - done) }, (_, at) => newJobId('default', Date.now() + at));
    await admin.eval(COPY, names.length, ...names, id, ...ids);
  }
}

/** Medians (ms) of a lost worker, from its claim on, and of an expired job, from its deadline on. */
async function recoveries(waiting, rounds) {
  const arena = await openArena();
  await arena.role('attestor', { COUNTERSIGN_RECOMPUTE_MODELS: 'none' });
  const { admission, close } = await openAdmission(arena, MODEL);
  const submit = async (more = {}) =>
    (await admission.submit(SUBMITTER, { model: 'noop', task: 'completion', input: { prompt: 'x' }, ...more })).id;
  const worker = arena.connect('worker.default');
  const claims = new Claims(worker, keys, `w-${'0'.repeat(52)}`, LEASE_MS);
  const until = async (field, id) => {
    while ((await arena.admin.hexists(keys.ruling(id), field)) === 0) await pause(5);
    return performance.now();
  };
  try {
    await fill(arena.admin, await submit(), waiting);
    const [lost, expired] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      const held = await submit();
      const claimed = performance.now();
      await claims.claim(held, 'bench');
      lost.push((await until('requeued', held)) - claimed);
      const late = await submit({ deadline_ms: DEADLINE_MS });
      const submitted = performance.now();
      expired.push((await until('state', late)) - submitted - DEADLINE_MS);
    }
    return { lost: median(lost), expired: median(expired) };
  } finally {
    close();
    worker.disconnect();
    await arena.close();
  }
}

export async function benchRecovery({ rounds, waiting }, say) {
  const idle = await recoveries(0, rounds);
  const full = await recoveries(waiting, rounds);
  say(`recovery: lost ${Math.round(idle.lost)} and ${Math.round(full.lost)} ms with ${waiting} waiting`);
  return {
    recovery: {
      waiting,
      lease_ms: LEASE_MS,
      lost_ms_idle: idle.lost,
      lost_ms_full: full.lost,
      lost_ratio: full.lost / idle.lost,
      expired_ms_idle: idle.expired,
      expired_ms_full: full.expired,
    },
  };
}

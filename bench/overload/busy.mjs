// The share of the engines' time that is used while jobs wait for it.
import { keys, pause } from '../arena.mjs';
import { openPool, openStandIn, QUEUE, workedOn } from './pool.mjs';

const KINDS = [
  { name: '2 × 8 places, 100 ms', workers: 2, parallel: 8, ms: 100, pieces: 1, goal: 0.98 },
  { name: '2 × 8 places, 100 ms in 10 pieces', workers: 2, parallel: 8, ms: 100, pieces: 10, goal: 0.98 },
  { name: '2 × 8 places, 20 ms', workers: 2, parallel: 8, ms: 20, pieces: 1, goal: 0.95 },
  { name: '1 × 4 places, 5 ms', workers: 1, parallel: 4, ms: 5, pieces: 1, goal: 0.9 },
];

/** Everything is admitted before it is measured, so that its cost is not in the figure. */
async function measure({ name, workers, parallel, ms, pieces, goal }, { quick }) {
  const pool = await openPool({ workers, parallel });
  const { arena, slots } = pool;
  const forMs = quick ? 4_000 : 15_000;
  const jobs = Math.ceil((1.5 * slots * (forMs + 3_000)) / ms);
  const { submit, close } = await openStandIn(pool, parallel);
  try {
    await arena.admin.hset(keys.poolStates, 'default', `paused ${Date.now()} bench`);
    for (let at = 0; at < jobs; at += 100)
      await Promise.all(
        Array.from({ length: Math.min(100, jobs - at) }, (_, next) =>
          submit(`number=${at + next} ms=${ms} pieces=${pieces}`),
        ),
      );
    await arena.admin.hdel(keys.poolStates, 'default');
    await pause(2_000);
    const [fromMs, cpuMs] = [Date.now(), arena.cpuMs()];
    await pause(forMs);
    const [toMs, usedMs] = [Date.now(), arena.cpuMs() - cpuMs];
    const waiting = await arena.admin.zcard(keys.backlog(QUEUE));
    await pause(1_000);
    const worked = await workedOn(pool);
    const used = worked.reduce(
      (sum, [, began, ended]) => sum + Math.max(0, Math.min(ended, toMs) - Math.max(began, fromMs)),
      0,
    );
    const done = worked.filter(([, , ended]) => ended >= fromMs && ended < toMs).length;
    return {
      name,
      goal,
      busy: used / (slots * (toMs - fromMs)),
      perSecond: (done * 1_000) / (toMs - fromMs),
      tookMs: worked.reduce((sum, [, began, ended]) => sum + ended - began, 0) / worked.length,
      cores: usedMs / (toMs - fromMs),
      waiting,
    };
  } finally {
    close();
    await arena.close();
  }
}

export async function measureBusy(settings, say) {
  const rows = [];
  for (const kind of KINDS) {
    rows.push(await measure(kind, settings));
    const { name, busy, perSecond, cores, waiting, tookMs } = rows.at(-1);
    say(
      `engines.busy ${name}: ${busy.toFixed(3)}, ${perSecond.toFixed(0)} jobs/s of ${tookMs.toFixed(1)} ms, ${cores.toFixed(2)} cores, ${waiting} still waited`,
    );
  }
  return rows;
}

// A quiet tenant by itself, and beside a flood of another one that has an hour.
import { keys } from '../arena.mjs';
import { figuresOf } from './figures.mjs';
import { offer, openPool, openStandIn, QUEUE } from './pool.mjs';
import { quietTrace } from './trace.mjs';

const RATE = 2;

export async function measureFlood(settings, say) {
  const { serviceMs, warmMs, windowMs, flood, parallel } = settings;
  const endMs = warmMs + windowMs;
  const pool = await openPool(settings);
  const { submit, close } = await openStandIn(pool, parallel);
  const quiet = async () => {
    const trace = quietTrace({ rate: RATE, serviceMs, endMs, seed: 1 });
    const run = await offer(pool, { trace, deadlineMs: 60_000 });
    return figuresOf(run, { warmMs, endMs, serviceMs });
  };
  try {
    const alone = await quiet();
    const beganMs = performance.now();
    const bytes = async () => Number(/^used_memory:(\d+)/m.exec(await pool.arena.admin.info('memory'))[1]);
    const before = await bytes();
    let refused = 0;
    for (let at = 0; at < flood; at += 200) {
      const sent = Array.from({ length: Math.min(200, flood - at) }, (_, next) =>
        submit(`number=${1_000_000 + at + next} ms=${serviceMs}`),
      );
      refused += (await Promise.allSettled(sent)).filter(({ status }) => status === 'rejected').length;
    }
    const floodMs = performance.now() - beganMs;
    const waiting = await pool.arena.admin.zcard(keys.backlog(QUEUE));
    const bytesPerWaiting = ((await bytes()) - before) / Math.max(1, waiting);
    const beside = await quiet();
    say(
      `flood of ${flood} (${refused} refused, ${(flood / (floodMs / 1_000)).toFixed(0)} a second): quiet p99 ${Math.round(alone.p99)} ms alone, ${Math.round(beside.p99)} ms beside it; ${waiting} waited`,
    );
    return { flood, refused, waiting, bytesPerWaiting, alone, beside };
  } finally {
    close();
    await pool.arena.close();
  }
}

// A quiet tenant by itself, and beside a flood of another one that has an hour.
import { keys, openAdmission } from '../arena.mjs';
import { figuresOf } from './figures.mjs';
import { offer, openPool, QUEUE } from './pool.mjs';
import { quietTrace } from './trace.mjs';

const RATE = 2;

export async function measureFlood(settings, say) {
  const { serviceMs, warmMs, windowMs, flood, parallel } = settings;
  const endMs = warmMs + windowMs;
  const pool = await openPool(settings);
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
  const submit = (number) =>
    admission.submit(
      { tenant: 'flood', keyId: 'bench', limits: { tenant: {}, key: {} } },
      {
        model: 'stand-in',
        task: 'completion',
        input: { prompt: `number=${1_000_000 + number} ms=${serviceMs}` },
        params: { max_tokens: 64 },
        attestation: { recompute: 0 },
        deadline_ms: 3_600_000,
      },
    );
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
      const sent = Array.from({ length: Math.min(200, flood - at) }, (_, next) => submit(at + next));
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

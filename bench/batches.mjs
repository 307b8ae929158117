// Four batches through the whole pipeline, with one courier and with two: lines a second, and the memory of
// each process.
import { apiKey, memoryMb, openArena, pause } from './arena.mjs';

const BATCHES = 4;
const OVER = ['completed', 'failed', 'expired', 'cancelled'];

const textOf = (lines) =>
  Array.from({ length: lines }, (_, n) =>
    JSON.stringify({
      custom_id: `r-${n}`,
      method: 'POST',
      url: '/v1/completions',
      body: { model: 'noop', prompt: `${n} ${'x'.repeat(230)}`, max_tokens: 8 },
    }),
  ).join('\n');

/** A client of the arena's API. */
async function clientOf(arena, url) {
  const authorization = `Bearer ${await apiKey(arena)}`;
  const ask = async (path, init = {}) => {
    const answer = await fetch(`${url}${path}`, { ...init, headers: { authorization, ...init.headers } });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  return {
    get: ask,
    async upload(text) {
      const form = new FormData();
      form.append('purpose', 'batch');
      form.append('file', new Blob([text]), 'lines.jsonl');
      return (await ask('/v1/files', { method: 'POST', body: form })).id;
    },
    post: (path, body) =>
      ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  };
}

async function through(count, lines, say) {
  const arena = await openArena();
  try {
    const env = { COUNTERSIGN_DEFAULT_RECOMPUTE: '0' };
    // The heap is small on purpose: the memory must not grow with the batch.
    const heap = ['--max-semi-space-size=8', '--max-old-space-size=96'];
    const [api, , , ...couriers] = await Promise.all([
      arena.role('api', env),
      arena.role('worker'),
      arena.role('attestor'),
      ...Array.from({ length: count }, () => arena.role('courier', env, heap)),
    ]);
    const client = await clientOf(arena, api.facts.url);
    const each = Math.ceil(lines / BATCHES);
    const file = await client.upload(textOf(each));
    const began = performance.now();
    const asked = { input_file_id: file, endpoint: '/v1/completions', completion_window: '24h' };
    let batches = await Promise.all(Array.from({ length: BATCHES }, () => client.post('/v1/batches', asked)));
    const seen = [];
    while (!batches.every(({ status }) => OVER.includes(status))) {
      await pause(250);
      seen.push(Math.max(...couriers.map(({ child }) => memoryMb(child.pid).now)));
      batches = await Promise.all(batches.map(({ id }) => client.get(`/v1/batches/${id}`)));
      const done = batches.reduce((sum, { request_counts }) => sum + request_counts.completed, 0);
      if (seen.length % 40 === 0) say(`batches, ${count} couriers: ${done} lines, ${seen.at(-1).toFixed(0)} MB`);
    }
    const seconds = (performance.now() - began) / 1_000;
    if (!batches.every(({ request_counts }) => request_counts.completed === each))
      throw new Error(JSON.stringify(batches));
    const quarter = Math.ceil(seen.length / 4);
    return {
      lines_per_second: (each * BATCHES) / seconds,
      courier_rss_mb: {
        first_quarter: Math.max(...seen.slice(0, quarter)),
        last_quarter: Math.max(...seen.slice(-quarter)),
      },
      api_rss_mb: memoryMb(api.child.pid).most,
      redis_rss_mb: memoryMb(arena.server.process.pid).most,
    };
  } finally {
    await arena.close();
  }
}

export async function benchBatches({ lines }, say) {
  const [one, two] = [await through(1, lines, say), await through(2, lines, say)];
  return { batches: { lines, one_courier: one, two_couriers: two } };
}

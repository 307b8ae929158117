// A batch of 50,000 lines through the whole pipeline: lines a second, and the memory of courier and API.
import { readFileSync } from 'node:fs';
import { apiKey, openArena, pause } from './arena.mjs';

const LINES = 50_000;

const rssMb = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024;

export async function benchBatches(_settings, say) {
  const arena = await openArena();
  try {
    const env = { COUNTERSIGN_DEFAULT_RECOMPUTE: '0' };
    const [api, courier] = await Promise.all([
      arena.role('api', env),
      // The heap is small on purpose: the memory must not grow with the batch.
      arena.role('courier', env, ['--max-semi-space-size=8', '--max-old-space-size=96']),
      arena.role('worker'),
      arena.role('attestor'),
    ]);
    const headers = { authorization: `Bearer ${await apiKey(arena)}` };
    const get = async (path) => (await fetch(`${api.facts.url}${path}`, { headers })).json();
    const form = new FormData();
    form.append('purpose', 'batch');
    const text = Array.from({ length: LINES }, (_, n) =>
      JSON.stringify({
        custom_id: `r-${n}`,
        method: 'POST',
        url: '/v1/completions',
        body: { model: 'noop', prompt: `${n} ${'x'.repeat(230)}`, max_tokens: 8 },
      }),
    ).join('\n');
    form.append('file', new Blob([text]), 'lines.jsonl');
    const file = await (await fetch(`${api.facts.url}/v1/files`, { method: 'POST', headers, body: form })).json();
    const began = performance.now();
    let batch = await (
      await fetch(`${api.facts.url}/v1/batches`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({ input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' }),
      })
    ).json();
    const courierMb = [];
    const apiMb = [];
    while (!['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
      await pause(250);
      courierMb.push(rssMb(courier.child.pid));
      apiMb.push(rssMb(api.child.pid));
      batch = await get(`/v1/batches/${batch.id}`);
      if (courierMb.length % 40 === 0)
        say(`batches: ${batch.request_counts.completed} lines, courier ${courierMb.at(-1).toFixed(0)} MB`);
    }
    const seconds = (performance.now() - began) / 1_000;
    if (batch.request_counts.completed !== LINES) throw new Error(JSON.stringify(batch));
    const quarter = Math.floor(courierMb.length / 4);
    const most = (values) => Math.max(...values);
    return {
      batches: {
        lines: LINES,
        lines_per_second: LINES / seconds,
        courier_rss_mb: {
          first_quarter: most(courierMb.slice(0, quarter)),
          last_quarter: most(courierMb.slice(-quarter)),
          most: most(courierMb),
        },
        api_rss_mb: { most: most(apiMb) },
        input_mb: text.length / 2 ** 20,
      },
    };
  } finally {
    await arena.close();
  }
}

// POST /v1/jobs with all features on, against a bare Fastify handler that enqueues.
import autocannon from 'autocannon';
import { apiKey, median, openArena } from './arena.mjs';

const SECONDS = 4;
const body = JSON.stringify({
  model: 'noop',
  task: 'completion',
  input: { prompt: 'x'.repeat(230) },
  attestation: { recompute: 0 },
});

async function requestsPerSecond(url, headers) {
  const result = await autocannon({
    url: `${url}/v1/jobs`,
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
    connections: 50,
    duration: SECONDS,
  });
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} answers were not 2xx, ${result.errors} errors`);
  return result.requests.average;
}

export async function benchHttp({ rounds }, say) {
  const arena = await openArena();
  try {
    const { facts: mine } = await arena.role('api');
    const { facts: base } = await arena.start('bench/baseline-http.mjs', {});
    const authorization = `Bearer ${await apiKey(arena)}`;
    await requestsPerSecond(mine.url, { authorization });
    const rates = { mine: [], base: [] };
    for (let round = 0; round < rounds; round += 1) {
      rates.mine.push(await requestsPerSecond(mine.url, { authorization }));
      rates.base.push(await requestsPerSecond(base.url, {}));
      say(
        `http round ${round + 1}: ${Math.round(rates.mine.at(-1))} requests/s, bare ${Math.round(rates.base.at(-1))} requests/s`,
      );
    }
    return {
      http: {
        admission_ratio: median(rates.mine.map((rate, index) => rate / rates.base[index])),
        requests_per_second: median(rates.mine),
        bare_requests_per_second: median(rates.base),
      },
    };
  } finally {
    await arena.close();
  }
}

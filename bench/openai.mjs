// Streamed chats through the compatible surface, against the same llama.cpp server called directly.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { apiKey, median, openArena, pause, quantile } from './arena.mjs';

const root = new URL('..', import.meta.url).pathname;
const TOKENS = 48;
const CONCURRENCIES = [1, 16, 64];
const REQUESTS = { 1: 20, 16: 96, 64: 192 };

async function llamaServer() {
  const cache = join(root, '.cache', 'llama-server', 'root');
  const lib = join(cache, 'usr/lib/x86_64-linux-gnu');
  if (!existsSync(join(cache, 'usr/bin/llama-server'))) return undefined;
  const port = await new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address();
      probe.close(() => resolve(free));
    });
  });
  const child = spawn(
    join(lib, 'ld-linux-x86-64.so.2'),
    [
      '--library-path',
      `${lib}:${join(lib, 'llama')}:${join(lib, 'ggml')}`,
      join(cache, 'usr/bin/llama-server'),
      '-m',
      join(root, 'models', 'kjv-1m-q8_0.gguf'),
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '-t',
      '1',
      '--alias',
      'kjv',
      '-c',
      '16384',
      '-np',
      '64',
    ],
    {
      env: { PATH: process.env.PATH, GGML_BACKEND_PATH: join(lib, 'ggml/backends0/libggml-cpu-haswell.so') },
      stdio: 'ignore',
    },
  );
  const url = `http://127.0.0.1:${port}`;
  for (let look = 0; look < 400; look += 1) {
    if (
      await fetch(`${url}/health`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return { url, child };
    await pause(50);
  }
  throw new Error('llama-server did not start');
}

/** The times of one streamed chat to its first text and to its end, ms. */
async function chat(url, model, headers, seed, tries = 5) {
  const began = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'And it came to pass' }],
      max_tokens: TOKENS,
      temperature: 0.8,
      seed,
      stream: true,
    }),
  }).catch(() => undefined);
  // llama.cpp's server closes idle connections at any time, which is no fault of either side.
  if (response === undefined) {
    if (tries === 0) throw new Error(`${url} closes every connection`);
    return chat(url, model, headers, seed, tries - 1);
  }
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  let first;
  let text = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (first === undefined && /"content":"[^"]/.test(text)) first = performance.now() - began;
  }
  if (!text.includes('[DONE]')) throw new Error(text.slice(-300));
  return { first: first ?? performance.now() - began, total: performance.now() - began };
}

async function load(concurrency, ask) {
  const times = [];
  let left = REQUESTS[concurrency];
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left > 0) {
        left -= 1;
        times.push(await ask(left));
      }
    }),
  );
  return {
    first_p50_ms: quantile(
      times.map(({ first }) => first),
      0.5,
    ),
    first_p99_ms: quantile(
      times.map(({ first }) => first),
      0.99,
    ),
    total_p50_ms: quantile(
      times.map(({ total }) => total),
      0.5,
    ),
    total_p99_ms: quantile(
      times.map(({ total }) => total),
      0.99,
    ),
  };
}

export async function benchOpenAi({ rounds }, say) {
  const server = await llamaServer();
  if (server === undefined) {
    say('openai: skipped, no llama.cpp server in .cache (npm test fetches it)');
    return {};
  }
  const arena = await openArena([
    {
      name: 'kjv',
      pool: 'default',
      tasks: ['chat'],
      engine: 'openai',
      baseUrl: server.url,
      remoteModel: 'kjv',
      sha256: '0'.repeat(64),
      parallel: 64,
    },
  ]);
  try {
    const [{ facts }] = await Promise.all([arena.role('api'), arena.role('attestor'), arena.role('worker')]);
    const headers = { authorization: `Bearer ${await apiKey(arena)}` };
    await pause(500);
    const sides = {
      mine: (seed) => chat(facts.url, 'kjv', headers, seed),
      direct: (seed) => chat(server.url, 'kjv', {}, seed),
    };
    await load(16, sides.mine);
    await load(16, sides.direct);
    const result = {};
    for (const concurrency of CONCURRENCIES) {
      const seen = { mine: [], direct: [] };
      for (let round = 0; round < rounds; round += 1)
        for (const side of ['mine', 'direct']) seen[side].push(await load(concurrency, sides[side]));
      const of = (side, name) => median(seen[side].map((one) => one[name]));
      const figures = {};
      for (const name of ['first_p50_ms', 'first_p99_ms', 'total_p50_ms', 'total_p99_ms'])
        figures[name] = {
          through: of('mine', name),
          direct: of('direct', name),
          ratio: median(seen.mine.map((one, at) => one[name] / seen.direct[at][name])),
        };
      result[`at_${concurrency}`] = figures;
      say(
        `openai at ${concurrency}: total p50 ${figures.total_p50_ms.through.toFixed(0)} ms, direct ${figures.total_p50_ms.direct.toFixed(0)} ms`,
      );
    }
    return { openai: result };
  } finally {
    await arena.close();
    server.child.kill('SIGKILL');
  }
}

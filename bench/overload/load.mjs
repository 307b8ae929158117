// The load generator, in a process of its own: an open loop, which sends each request at its time whatever
// became of those before. It reads `{ url, keys, trace, startMs, deadlineMs, clients }` from the file that it
// is given, and writes what became of each request to the other one.
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { seeded } from './seeded.mjs';

const [askFile, replyFile] = process.argv.slice(2);
const {
  url,
  keys,
  trace,
  startMs,
  deadlineMs,
  clients,
  redis: access,
  shard,
} = JSON.parse(readFileSync(askFile, 'utf8'));
const { toldIn } = await import(new URL('../../dist/core/forecast/offer.js', import.meta.url).href);
const { endAt } = await import(new URL('../../dist/core/forecast/told.js', import.meta.url).href);
const { RedisKeys } = await import(new URL('../../dist/ground/redis/keys.js', import.meta.url).href);

const MOST_TRIES = 4;
/** A client that was told to come back later than this does not. */
const PATIENCE_MS = 60_000;
const READERS = 8;

const agent = new Agent({ keepAlive: true, maxSockets: 512 });
const redis = new Redis({ ...access, disableClientInfo: true, maxRetriesPerRequest: null });
const names = new RedisKeys(shard);
const random = seeded(startMs);
const nowMs = () => performance.timeOrigin + performance.now();

function ask(method, path, key, body) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const sent = httpRequest(`${url}${path}`, { method, agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => (text += piece));
      response.once('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

/** What the job was told when it was admitted (ms from then), as it is kept with the job. */
async function toldTo(id) {
  const kept = toldIn((await redis.hget(names.job(id), 'told')) ?? '');
  if (kept === undefined) return undefined;
  const [p10, p50, p90] = ['z10', 'z50', 'z90'].map((quantile) => endAt(kept.told, quantile));
  return { startMs: kept.told.startMs, p10, p50, p90 };
}

const asked = [];

async function submit(job) {
  const { tenant, maxTokens, ms, number, tries } = job;
  const body = JSON.stringify({
    model: 'stand-in',
    task: 'completion',
    input: { prompt: `number=${number} ms=${ms.toFixed(2)}` },
    params: { max_tokens: maxTokens },
    deadline_ms: deadlineMs,
    attestation: { recompute: 0 },
  });
  const sentMs = nowMs();
  const reply = await ask('POST', '/v1/jobs', keys[tenant], body).catch((error) => ({ status: 0, text: `${error}` }));
  const tookMs = nowMs() - sentMs;
  const row = { ...job, sentMs, tookMs, status: reply.status };
  asked.push(row);
  if (reply.status === 202) {
    row.id = JSON.parse(reply.text).id;
    row.told = await toldTo(row.id);
    return;
  }
  row.code = reply.status === 0 ? reply.text : JSON.parse(reply.text).code;
  const afterMs = retryAfter(reply.headers ?? {}, tries);
  row.retryAfterMs = Number(reply.headers?.['retry-after-ms'] ?? NaN);
  if (clients === 'leave' || tries + 1 >= MOST_TRIES || !(afterMs < PATIENCE_MS)) return;
  await sleep(afterMs);
  await submit({ ...job, tries: tries + 1 });
}

/** Those who do not obey come back after half a second, doubled each time, as many clients do. */
function retryAfter(headers, tries) {
  if (clients === 'obey') return Number(headers['retry-after-ms'] ?? 1_000);
  return 500 * 2 ** tries * (0.75 + 0.25 * random());
}

/** What became of an accepted job. */
async function read(row) {
  for (let looks = 0; looks < 600; looks += 1) {
    const { status, text } = await ask('GET', `/v1/jobs/${row.id}`, keys[row.tenant]);
    const job = status === 200 ? JSON.parse(text) : undefined;
    if (job?.ended_at != null) {
      const last = job.attempts.at(-1);
      row.state = job.state;
      row.reason = job.reason?.code;
      row.createdMs = Date.parse(job.created_at);
      row.endedMs = Date.parse(job.ended_at);
      row.beganMs = last?.started_at == null ? undefined : Date.parse(last.started_at);
      return;
    }
    await sleep(100);
  }
}

process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
const sending = [];
for (const arrival of trace) {
  const atMs = startMs + arrival.atMs;
  const restMs = atMs - nowMs();
  if (restMs > 1) await sleep(restMs);
  sending.push(submit({ ...arrival, plannedMs: atMs, tries: 0 }));
}
await Promise.all(sending);
const accepted = asked.filter(({ id }) => id !== undefined);
const cpu = process.cpuUsage();
await Promise.all(
  Array.from({ length: READERS }, async (_, reader) => {
    for (let at = reader; at < accepted.length; at += READERS) await read(accepted[at]);
  }),
);
writeFileSync(replyFile, JSON.stringify({ asked, cpuMs: (cpu.user + cpu.system) / 1_000 }));
process.exit(0);

// Webhook messages from done jobs to a receiver on this machine, with 0, 10 and 200 endpoints of other
// tenants beside it that take connections and never answer. Each message is signed twice.
import { createServer } from 'node:http';
import { keys, dist, median, memoryMb, MODEL, openAdmission, openArena, pause, quantile } from './arena.mjs';

/** Endpoints that do not answer; a tenant has twenty at most. */
const DEAD = [0, 10, 200];
const OF_A_TENANT = 20;
const MESSAGES = 2_000;
/** Messages whose way is timed, and how often one is sent, ms. */
const TIMED = 200;
const EVERY_MS = 100;

const { Webhooks, newWebhookId } = await dist('surfaces/webhooks/webhook.store.js');

async function receiver(take) {
  const server = createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => take(Buffer.concat(pieces), response));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const submitterOf = (tenant) => ({ tenant, keyId: 'bench', limits: { tenant: {}, key: {} } });
const jobOf = (prompt) => ({ model: 'noop', task: 'completion', input: { prompt } });

/** Ms from the end of each job to its receiver, by what the message says of its end. */
const waits = [];

async function beside(dead, rounds, say) {
  const arena = await openArena();
  let received = 0;
  const lively = await receiver((body, response) => {
    received += 1;
    waits.push(Date.now() - Date.parse(JSON.parse(body.toString()).timestamp));
    response.writeHead(204).end();
  });
  const silent = await receiver(() => undefined);
  const { admission, close } = await openAdmission(arena, MODEL);
  const redis = arena.connect('api');
  let isOver = false;
  try {
    const [courier] = await Promise.all([
      arena.role('courier', { COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' }),
      arena.role('worker'),
      arena.role('attestor'),
    ]);
    const webhooks = new Webhooks(redis, keys, arena.secrets);
    const endpoint = (tenant, url) =>
      webhooks.create(tenant, newWebhookId(), { url, events: ['job.done'], format: 'standard', description: '' });
    await endpoint('bench', lively.url);
    const others = Array.from({ length: Math.ceil(dead / OF_A_TENANT) }, (_, at) => `dead-${at}`);
    for (let at = 0; at < dead; at += 1) await endpoint(others[Math.floor(at / OF_A_TENANT)], silent.url);
    // Each of the others ends a job a second: there is always something new to send to every endpoint.
    const noise = (async () => {
      while (!isOver) {
        await Promise.all(others.map((tenant) => admission.submit(submitterOf(tenant), jobOf('noise'))));
        await pause(1_000);
      }
    })();
    waits.length = 0;
    for (let at = 0; at < TIMED; at += 1) {
      await admission.submit(submitterOf('bench'), jobOf(`timed ${at}`));
      await pause(EVERY_MS);
    }
    while (received < TIMED) await pause(20);
    const timed = [...waits];
    const rates = [];
    for (let round = 0; round < rounds; round += 1) {
      received = 0;
      const began = performance.now();
      for (let sent = 0; sent < MESSAGES; sent += 100)
        await Promise.all(
          Array.from({ length: 100 }, (_, n) => admission.submit(submitterOf('bench'), jobOf(`${round} ${sent} ${n}`))),
        );
      while (received < MESSAGES) await pause(20);
      rates.push((MESSAGES * 1_000) / (performance.now() - began));
      say(`webhooks beside ${dead} dead, round ${round + 1}: ${rates.at(-1).toFixed(0)} messages/s`);
    }
    isOver = true;
    await noise;
    return {
      dead,
      messages_per_second: median(rates),
      ms_p50: quantile(timed, 0.5),
      ms_p99: quantile(timed, 0.99),
      courier_rss_mb: memoryMb(courier.child.pid).most,
    };
  } finally {
    isOver = true;
    close();
    redis.disconnect();
    await arena.close();
    lively.close();
    silent.close();
  }
}

export async function benchWebhooks({ rounds }, say) {
  const webhooks = [];
  for (const dead of DEAD) webhooks.push(await beside(dead, rounds, say));
  return { webhooks };
}

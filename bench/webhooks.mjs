// Webhook messages a second, from done jobs to a receiver on this machine; each is signed twice.
import { createServer } from 'node:http';
import { apiKey, median, MODEL, openAdmission, openArena, pause } from './arena.mjs';

const MESSAGES = 2_000;

export async function benchWebhooks({ rounds }, say) {
  const arena = await openArena();
  let received = 0;
  const receiver = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      received += 1;
      response.writeHead(204).end();
    });
  });
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  try {
    const env = { COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' };
    const [api] = await Promise.all([
      arena.role('api', env),
      arena.role('courier', env),
      arena.role('worker'),
      arena.role('attestor'),
    ]);
    const headers = { authorization: `Bearer ${await apiKey(arena)}`, 'content-type': 'application/json' };
    const made = await fetch(`${api.facts.url}/v1/webhooks`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ url: `http://127.0.0.1:${receiver.address().port}/`, events: ['job.done'] }),
    });
    if (!made.ok) throw new Error(await made.text());
    const { admission, close } = await openAdmission(arena, MODEL);
    const submitter = { tenant: 'bench', keyId: 'bench', limits: { tenant: {}, key: {} } };
    const rates = [];
    for (let round = 0; round < rounds; round += 1) {
      received = 0;
      const began = performance.now();
      for (let sent = 0; sent < MESSAGES; sent += 100)
        await Promise.all(
          Array.from({ length: 100 }, (_, n) =>
            admission.submit(submitter, {
              model: 'noop',
              task: 'completion',
              input: { prompt: `${round} ${sent} ${n}` },
            }),
          ),
        );
      while (received < MESSAGES) await pause(20);
      rates.push((MESSAGES * 1_000) / (performance.now() - began));
      say(`webhooks round ${round + 1}: ${rates.at(-1).toFixed(0)} messages/s`);
    }
    close();
    return { webhooks: { messages_per_second: median(rates) } };
  } finally {
    await arena.close();
    receiver.closeAllConnections();
    receiver.close();
  }
}

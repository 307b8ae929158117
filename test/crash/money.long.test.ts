import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { chargeOf } from '../../src/proof/receipts/charge.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { auditLedger } from '../../src/surfaces/ledger/ledger-audit.ts';
import { booksOf } from '../support/books.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Client, Pipeline, SHORT_LEASE, completion, until } from '../support/pipeline.ts';

const PRICES = {
  version: 1,
  id: 'v1',
  currency: 'EUR',
  models: {
    noop: { input: 1_000_000, output: 1_000_000, attestation: { recompute: 10 } },
    'by-hand': { input: 1_000_000, output: 1_000_000 },
  },
};
/** By how much each tenant may spend; the last one soon reaches it. */
const BUDGETS = { rich: 10_000_000, choosy: 10_000_000, poor: 3_000 } as const;

const pick = (below: number) => Math.floor(Math.random() * below);

/** Sends requests of every kind until it has sent as many; what is refused for money counts as sent. */
async function work(pipeline: Pipeline, client: Client, requests: number): Promise<string[]> {
  const made: string[] = [];
  const lanes = Array.from({ length: 6 }, async (_, lane) => {
    for (let at = lane; at < requests; at += 6) {
      const name = `${lane}-${at}`;
      await until(async () => {
        client.url = pipeline.url;
        const answer = await send(client, name, at).catch(() => undefined);
        if (answer === undefined || answer.status >= 500) return false;
        // What open jobs may cost is given back soon; what is spent is not.
        if (answer.status === 429 && (await answer.clone().text()).includes('spend_held')) return false;
        made.push(...(answer.headers.get('countersign-job') ?? '').split(', ').filter((id) => id !== ''));
        if (answer.status !== 202) return true;
        const { id } = (await answer.json()) as { id: string };
        made.push(id);
        return at % 4 !== 1 || (await cancelled(client, id));
      }, 120_000);
    }
  });
  await Promise.all(lanes);
  return [...new Set(made)];
}

/** Whether the wish to cancel has arrived; the job may have been asked for by an earlier try. */
async function cancelled(client: Client, id: string): Promise<boolean> {
  const answer = await client.post(`/v1/jobs/${id}/cancel`, undefined).catch(() => undefined);
  return answer !== undefined && answer.status < 500;
}

/**
 * A job, one that nobody works on and that is cancelled, up to eight choices at once, or a dear one; the same
 * for the same number, since it is sent again under the same key.
 */
function send(client: Client, name: string, at: number): Promise<Response> {
  const headers = { 'idempotency-key': `"${name}"` };
  switch (at % 4) {
    case 0:
      return client.post('/v1/jobs', completion(name, { attempts: 10 }), headers);
    case 1:
      return client.post('/v1/jobs', completion(name, { model: 'by-hand' }), headers);
    case 2:
      return client.post(
        '/v1/completions',
        { model: 'noop', prompt: name, n: 1 + (Math.floor(at / 4) % 8), max_tokens: 8 },
        headers,
      );
    default:
      return client.post('/v1/jobs', completion(name, { attempts: 10, params: { max_tokens: 200 } }), headers);
  }
}

test('whoever is killed at random: charges are the receipts, nothing is held at the end, and no budget is overspent', async () => {
  await using pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  const prices = { COUNTERSIGN_PRICES: pipeline.file('prices.json', PRICES) };
  const starts = [
    () => pipeline.api(prices),
    () => pipeline.worker(1, SHORT_LEASE),
    () => pipeline.attestor(),
    () => pipeline.attestor(),
    () => pipeline.courier(prices),
  ];
  const running = await Promise.all(starts.map((start) => start()));
  const admin = await pipeline.client('operator');
  const clients = new Map<keyof typeof BUDGETS, Client>();
  for (const [name, spend] of Object.entries(BUDGETS) as [keyof typeof BUDGETS, number][]) {
    await admin.post('/v1/admin/tenants', { name, limits: { spend } });
    const made = await admin.post(`/v1/admin/tenants/${name}/keys`, { scopes: ['submit', 'read'] });
    clients.set(name, new Client(pipeline.url, ((await made.json()) as { key: string }).key));
  }
  const stop = new AbortController();
  const killer = (async () => {
    while (!stop.signal.aborted) {
      const at = pick(starts.length + 1);
      if (at === starts.length) {
        await pipeline.redis.kill();
        await pipeline.redis.restart();
      } else {
        running[at]?.process.kill('SIGKILL');
        const again = await starts[at]?.();
        if (again !== undefined) running[at] = again;
      }
    }
  })();
  const made = new Map(
    await Promise.all([...clients].map(async ([name, client]) => [name, await work(pipeline, client, 240)] as const)),
  );
  stop.abort();
  await killer;

  const redis = pipeline.redis.client('api');
  const { keys } = pipeline.redis;
  const parts = booksOf(redis, keys, {
    keyring: pipeline.keyring,
    blobs: pipeline.redis.folder,
    log: join(pipeline.folder, 'log'),
  });
  const { usage } = parts;
  await until(async () => (await redis.zcard(keys.open)) + (await redis.zcard(keys.unsealed)) === 0, 120_000);
  for (const [name, client] of clients) {
    client.url = pipeline.url;
    await until(async () => (await usage.account(name)).held === 0, 60_000);
    let total = 0;
    for (const id of made.get(name) ?? []) {
      const job = await client.job(id);
      if (job.state !== 'done') continue;
      const { ticket, evidence, verdict } = verifyReceipt(await client.receipt(id), pipeline.keyring);
      total += chargeOf(ticket, evidence, verdict);
    }
    const audit = await auditLedger(parts, name);
    expect(audit.problems).toEqual([]);
    // Nothing was charged that its caller was not told of.
    expect(audit.sums).toEqual([{ currency: 'EUR', spent: total, held: 0 }]);
    expect(total).toBeLessThanOrEqual(BUDGETS[name]);
    // The work may have begun before midnight.
    const [from, to] = [Date.now() - 86_400_000, Date.now()].map((ms) => new Date(ms).toISOString().slice(0, 10));
    const rows = await usage.usage(name, { from: from ?? '', to: to ?? '', groupBy: [] });
    expect(rows.map(({ charged }) => charged)).toEqual([total]);
  }
}, 600_000);

import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { decodePaymentRequiredHeader, decodePaymentResponseHeader } from '@x402/core/http';
import type { PaymentRequired } from '@x402/core/types';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { UptoEvmScheme } from '@x402/evm/upto/client';
import { wrapFetchWithPayment, x402Client, x402HTTPClient } from '@x402/fetch';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { auditLedger } from '../../src/surfaces/ledger/ledger-audit.ts';
import { chargeOf } from '../../src/proof/receipts/charge.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { booksOf } from '../support/books.ts';
import { LocalFacilitator } from '../support/facilitator.ts';
import {
  BY_HAND_MODEL,
  KJV_MODEL,
  NOOP_MODEL,
  Client,
  Pipeline,
  completion,
  until,
  type Role,
} from '../support/pipeline.ts';

/** The client of the protocol's authors, unmodified, against a facilitator that checks real signatures. */
const NETWORK = LocalFacilitator.network;
const SELLER = '0x1111111111111111111111111111111111111111';
const TOKEN = '0x036CbD53842c5426634e7929541eC2318f3dCF7e';
const PRICES = {
  version: 1,
  id: '2026-11',
  currency: 'USD',
  models: {
    noop: { input: 1_000_000, output: 1_000_000, attestation: { recompute: 10 } },
    'kjv-1m': { input: 1_000_000, output: 1_000_000 },
    'by-hand': { input: 1_000_000, output: 1_000_000 },
  },
};

let pipeline: Pipeline;
let facilitator: LocalFacilitator;
let sold: Record<string, string>;
let couriers: Role[];

beforeAll(async () => {
  facilitator = await LocalFacilitator.start();
  pipeline = await Pipeline.prepare([NOOP_MODEL, KJV_MODEL, BY_HAND_MODEL, { ...NOOP_MODEL, name: 'unsold' }]);
  const way = { network: NETWORK, asset: TOKEN, payTo: SELLER, unitsPerMillionth: '3' };
  const terms = {
    version: 1,
    facilitator: facilitator.url,
    resource: 'https://api.example',
    currency: 'USD',
    accepts: [
      { scheme: 'upto', ...way, extra: { facilitatorAddress: facilitator.address } },
      { scheme: 'exact', ...way, extra: { name: 'USDC', version: '2' } },
    ],
  };
  sold = {
    COUNTERSIGN_PRICES: pipeline.file('prices.json', PRICES),
    COUNTERSIGN_X402: pipeline.file('x402.json', terms),
  };
  couriers = [await pipeline.courier(sold)];
  await Promise.all([pipeline.api(sold), pipeline.worker(1), pipeline.attestor()]);
});
afterEach(() => {
  facilitator.mood = 'well';
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await facilitator[Symbol.asyncDispose]();
});

/** An agent with a wallet and no account here. */
function agent(scheme: 'exact' | 'upto' = 'exact', funds = 1_000_000n) {
  const account = privateKeyToAccount(generatePrivateKey());
  facilitator.fund(account.address, funds);
  const client = new x402Client((_, ways) => {
    const way = ways.find((one) => one.scheme === scheme);
    if (way === undefined) throw new Error(`${scheme} is not offered`);
    return way;
  });
  client.register(NETWORK, scheme === 'exact' ? new ExactEvmScheme(account) : new UptoEvmScheme(account));
  const paying = wrapFetchWithPayment(fetch, client);
  const send = (path: string, body: object, headers: Record<string, string> = {}) => ({
    method: 'POST',
    url: `${pipeline.url}${path}`,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return {
    address: account.address.toLowerCase(),
    balance: () => facilitator.balances.get(account.address.toLowerCase()),
    /** Asks, is told the price, pays, and asks again. */
    pay(path: string, body: object, headers: Record<string, string> = {}) {
      const { url, ...init } = send(path, body, headers);
      return paying(url, init);
    },
    /** A payment for this request, for a test that wants to send it itself. */
    async sign(path: string, body: object): Promise<Record<string, string>> {
      const { url, ...init } = send(path, body);
      const asked = await fetch(url, init);
      const terms = new x402HTTPClient(client).getPaymentRequiredResponse((name) => asked.headers.get(name));
      return new x402HTTPClient(client).encodePaymentSignatureHeader(await client.createPaymentPayload(terms));
    },
    send(path: string, body: object, headers: Record<string, string>) {
      const { url, ...init } = send(path, body, headers);
      return fetch(url, init);
    },
  };
}

const chat = (content: string, more: object = {}) => ({
  model: 'noop',
  messages: [{ role: 'user', content }],
  max_tokens: 8,
  ...more,
});
const CHAT = '/v1/chat/completions';
const outcome = (response: Response) => decodePaymentResponseHeader(response.headers.get('payment-response') ?? '');
const reader = (response: Response) =>
  new Client(pipeline.url, response.headers.get('countersign-payer-token') ?? 'none');
const jobOf = (response: Response) => response.headers.get('countersign-job') ?? '';

describe('an answer that is paid for by itself', () => {
  test('exact: the official client pays what was asked and gets a confirmed answer, its receipt and the transaction', async () => {
    const payer = agent('exact');
    const response = await payer.pay(CHAT, chat('what does it cost?'));
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ object: 'chat.completion', countersign: { state: 'done' } });
    const job = jobOf(response);
    const receipt = verifyReceipt(await reader(response).receipt(job), pipeline.keyring);
    const price = receipt.ticket.price;
    expect(price).toMatchObject({ currency: 'USD', fixed: true });
    const units = BigInt(price?.hold ?? 0) * 3n;
    expect(chargeOf(receipt.ticket, receipt.evidence, receipt.verdict)).toBe(price?.hold);
    expect(outcome(response)).toMatchObject({ success: true, network: NETWORK, payer: payer.address });
    expect(outcome(response).transaction).toMatch(/^0x[0-9a-f]{64}$/);
    expect(payer.balance()).toBe(1_000_000n - units);
    expect(facilitator.transfers.at(-1)).toEqual({ from: payer.address, to: SELLER, amount: units });
  });

  test('upto: only what the receipt comes to is taken', async () => {
    const payer = agent('upto');
    const response = await payer.pay(CHAT, chat('and now?'));
    expect(response.status).toBe(200);
    const { ticket, evidence, verdict } = verifyReceipt(
      await reader(response).receipt(jobOf(response)),
      pipeline.keyring,
    );
    const charge = chargeOf(ticket, evidence, verdict);
    expect(charge).toBeGreaterThan(0);
    expect(charge).toBeLessThan(ticket.price?.hold ?? 0);
    expect(payer.balance()).toBe(1_000_000n - BigInt(charge) * 3n);
    expect(outcome(response)).toMatchObject({ success: true, amount: String(charge * 3) });
  });

  test('a native job: accepted at once, read with its token, paid when it is done', async () => {
    const payer = agent('upto');
    const response = await payer.pay('/v1/jobs', completion('native'));
    expect(response.status).toBe(202);
    const { id } = (await response.json()) as { id: string };
    const own = reader(response);
    expect(await own.ended(id)).toMatchObject({ state: 'done' });
    expect(JSON.parse((await own.output(id)).toString())).toHaveProperty('text');
    expect(await (await own.fetch(`/v1/jobs/${id}/payment`)).json()).toMatchObject({
      state: 'settled',
      payer: payer.address,
      pay_to: SELLER,
    });
  });

  test('completions are sold too, and the books of the payers balance', async () => {
    const payer = agent('exact');
    const response = await payer.pay('/v1/completions', { model: 'noop', prompt: 'once', max_tokens: 4 });
    expect(response.status).toBe(200);
    const redis = pipeline.redis.client('api');
    const { keyring } = pipeline;
    const parts = booksOf(redis, pipeline.redis.keys, {
      keyring,
      blobs: pipeline.redis.folder,
      log: join(pipeline.folder, 'log'),
    });
    const audit = await auditLedger(parts, `x402-${payer.address.slice(2)}`);
    expect(audit).toMatchObject({ problems: [], entries: 1, compared: 1, sums: [{ held: 0 }] });
    expect(payer.balance()).toBe(1_000_000n - BigInt(audit.sums[0]?.spent ?? 0) * 3n);
  });
});

describe('nothing is taken', () => {
  test('without a payment: 402 with the terms for just this request, as the client of the protocol reads them', async () => {
    const before = facilitator.calls.length;
    const small = await agent().send(CHAT, chat('a', { max_tokens: 1 }), {});
    const large = await agent().send(CHAT, chat('a', { max_tokens: 1_000 }), {});
    expect(small.status).toBe(402);
    expect(await small.json()).toMatchObject({ error: { code: 'payment_required' } });
    const terms = (response: Response): PaymentRequired =>
      decodePaymentRequiredHeader(response.headers.get('payment-required') ?? '');
    expect(terms(small)).toMatchObject({ x402Version: 2, resource: { url: `https://api.example${CHAT}` } });
    expect(terms(small).accepts.map(({ scheme, payTo }) => [scheme, payTo])).toEqual([
      ['upto', SELLER],
      ['exact', SELLER],
    ]);
    expect(Number(terms(large).accepts[0]?.amount)).toBe(Number(terms(small).accepts[0]?.amount) + 999 * 3);
    expect(facilitator.calls.length).toBe(before);
  });

  test('for what is not there, not sold, streamed, provisional, or several answers at once', async () => {
    const payer = agent();
    const codes = async (body: object, headers: Record<string, string> = {}) => {
      const signature = await payer.sign(CHAT, chat('x'));
      const response = await payer.send(CHAT, body, { ...signature, ...headers });
      return [response.status, ((await response.json()) as { error: { code: string } }).error.code];
    };
    expect(await codes(chat('x', { model: 'nowhere' }))).toEqual([404, 'model_not_found']);
    expect(await codes(chat('x', { model: 'unsold' }))).toEqual([401, 'unauthenticated']);
    expect(await codes(chat('x', { n: 2 }))).toEqual([400, 'request_invalid']);
    expect(await codes(chat('x', { stream: true }))).toEqual([400, 'request_invalid']);
    expect(await codes(chat('x'), { 'countersign-answer': 'provisional' })).toEqual([400, 'request_invalid']);
    expect(await codes(chat('longer than what was paid for'))).toEqual([402, 'payment_required']);
    for (const garbage of ['!', Buffer.from('{}').toString('base64'), 'A'.repeat(9_000), '[[[[[[[['])
      expect(await codes(chat('x'), { 'PAYMENT-SIGNATURE': garbage })).toEqual([402, 'payment_required']);
    for (const [path, body] of [
      ['/v1/responses', { model: 'noop', input: 'x' }],
      ['/v1/quote', completion('x')],
    ] as const)
      expect((await payer.send(path, body, await payer.sign(CHAT, chat('x')))).status).toBe(401);
    expect(payer.balance()).toBe(1_000_000n);
  });

  test('where the facilitator refuses: no money, a changed amount, another receiver, another payer', async () => {
    const poor = agent('exact', 3n);
    const refused = await poor.send(CHAT, chat('x'), await poor.sign(CHAT, chat('x')));
    expect(refused.status).toBe(402);
    expect(await refused.text()).toContain('insufficient_funds');

    const payer = agent();
    const signature = await payer.sign(CHAT, chat('x'));
    const changed = (change: (payment: Record<string, Record<string, Record<string, string>>>) => void) => {
      const payment = JSON.parse(Buffer.from(signature['PAYMENT-SIGNATURE'] ?? '', 'base64').toString()) as never;
      change(payment);
      return payer.send(CHAT, chat('x'), {
        'payment-signature': Buffer.from(JSON.stringify(payment)).toString('base64'),
      });
    };
    const attacks: [string, Parameters<typeof changed>[0]][] = [
      ['invalid_signature', ({ payload }) => ((payload?.['authorization'] ?? {})['from'] = `0x${'9'.repeat(40)}`)],
      ['invalid_signature', ({ payload }) => ((payload?.['authorization'] ?? {})['value'] = '999999')],
      ['invalid_signature', ({ payload }) => ((payload?.['authorization'] ?? {})['validBefore'] = '99999999999')],
      ['holds no payment', ({ accepted }) => ((accepted as never as Record<string, string>)['amount'] = '1')],
      ['holds no payment', ({ accepted }) => ((accepted as never as Record<string, string>)['payTo'] = TOKEN)],
      ['must hold from now', ({ payload }) => ((payload?.['authorization'] ?? {})['validBefore'] = '17')],
    ];
    for (const [reason, change] of attacks) {
      const response = await changed(change);
      expect(response.status).toBe(402);
      expect(await response.text()).toContain(reason);
    }
    facilitator.mood = 'names-another-payer';
    expect(await (await payer.send(CHAT, chat('x'), signature)).text()).toContain('names another payer');
    facilitator.mood = 'broken';
    const away = await payer.send(CHAT, chat('x'), signature);
    expect([away.status, away.headers.get('x-should-retry')]).toEqual([503, 'true']);
    expect(payer.balance()).toBe(1_000_000n);
    // And the same payment is good once the facilitator is.
    facilitator.mood = 'well';
    expect((await payer.send(CHAT, chat('x'), signature)).status).toBe(200);
  });

  test('where the job does not end done', async () => {
    const payer = agent();
    const response = await payer.pay('/v1/jobs', completion('x', { model: 'by-hand', deadline_ms: 1_000 }));
    const { id } = (await response.json()) as { id: string };
    const own = reader(response);
    expect((await own.ended(id)).state).toBe('expired');
    const payment = () => own.fetch(`/v1/jobs/${id}/payment`).then((answer) => answer.json());
    await until(async () => ((await payment()) as { state: string }).state !== 'held');
    expect(await payment()).toMatchObject({ state: 'released', amount: '0', transaction: null });
    expect(payer.balance()).toBe(1_000_000n);
  });

  test('twice: a payment is one job, whatever is sent with it again', async () => {
    const payer = agent();
    const signature = await payer.sign(CHAT, chat('once'));
    const keyed = { ...signature, 'idempotency-key': 'a-secret-of-the-payer' };
    const both = await Promise.all([payer.send(CHAT, chat('once'), keyed), payer.send(CHAT, chat('once'), keyed)]);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(new Set(both.map(jobOf)).size).toBe(1);
    const again = await payer.send(CHAT, chat('once'), keyed);
    expect([again.status, jobOf(again)]).toEqual([200, jobOf(both[0])]);
    // What the chain shows of a payment is not enough to read its answer.
    const stolen = await payer.send(CHAT, chat('once'), signature);
    expect([stolen.status, stolen.headers.get('countersign-payer-token')]).toEqual([422, null]);
    const other = await payer.send(CHAT, chat('twic'), keyed);
    expect(other.status).toBe(422);
    // The same job by another request: a member that no job holds, and another route.
    const params = { max_tokens: 8, temperature: 1, top_p: 1, stop: [] };
    for (const [path, body] of [
      [CHAT, chat('once', { user: 'somebody else' })],
      ['/v1/jobs', { model: 'noop', task: 'chat', input: { messages: chat('once').messages }, params }],
    ] as const)
      expect((await payer.send(path, body, keyed)).status).toBe(422);
    const recased = Buffer.from(
      Buffer.from(signature['PAYMENT-SIGNATURE'] ?? '', 'base64')
        .toString()
        .replace(/"nonce":"0x([0-9a-f]+)"/, (_, hex: string) => `"nonce":"0x${hex.toUpperCase()}"`),
    ).toString('base64');
    expect((await payer.send(CHAT, chat('twic'), { 'payment-signature': recased })).status).toBe(422);
    expect(facilitator.transfers.filter(({ from }) => from === payer.address)).toHaveLength(1);

    const careless = agent();
    const plain = await careless.sign(CHAT, chat('once'));
    expect((await careless.send(CHAT, chat('once'), plain)).status).toBe(200);
    const replay = await careless.send(CHAT, chat('once'), plain);
    expect([replay.status, await replay.text()]).toEqual([409, expect.stringContaining('payment_used')]);
  });
});

/** Does this while no verdict can come, and so nothing be settled. */
async function beforeVerdict<T>(action: () => Promise<T>): Promise<T> {
  const attestors = pipeline.running().filter(({ name }) => name === 'attestor');
  await pipeline.freeze(...attestors);
  try {
    return await action();
  } finally {
    for (const { process } of attestors) process.kill('SIGCONT');
  }
}

describe('the settlement', () => {
  test('a payer who emptied his account gets nothing, not even by his token', async () => {
    const payer = agent();
    const signature = await payer.sign(CHAT, chat('x'));
    const { redis } = pipeline;
    const answer = await beforeVerdict(async () => {
      const sent = payer.send(CHAT, chat('x'), signature);
      await until(
        async () => (await redis.client('api').zcard(redis.keys.openOf(`x402-${payer.address.slice(2)}`))) === 1,
      );
      facilitator.fund(payer.address, 0n);
      return { sent };
    });
    const response = await answer.sent;
    expect(response.status).toBe(402);
    expect(await response.json()).toMatchObject({ error: { code: 'payment_failed' } });
    expect(outcome(response)).toMatchObject({ success: false, errorReason: 'insufficient_funds' });

    // The same by way of the native surface, whose token came before the verdict.
    facilitator.fund(payer.address, 1_000_000n);
    const { id, own, stream } = await beforeVerdict(async () => {
      const accepted = await payer.pay('/v1/jobs', completion('In the beginning', { model: 'kjv-1m' }));
      const job = ((await accepted.json()) as { id: string }).id;
      facilitator.fund(payer.address, 0n);
      const client = reader(accepted);
      await until(async () => (await client.job(job)).state === 'attesting');
      return { id: job, own: client, stream: await client.fetch(`/v1/jobs/${job}/events`) };
    });
    const events = await stream.text();
    expect(events).toContain('event: state');
    expect(events).not.toContain('event: chunk');
    for (const what of ['output', 'receipt'])
      expect(await (await own.fetch(`/v1/jobs/${id}/${what}`)).json()).toMatchObject({ code: 'payment_failed' });
  });

  test('the facilitator is away for a while: the answer waits, and is paid once', async () => {
    const payer = agent();
    let asked = 0;
    const accepted = await beforeVerdict(async () => {
      const response = await payer.pay('/v1/jobs', completion('later'));
      facilitator.mood = 'broken';
      asked = facilitator.calls.length;
      return response;
    });
    const { id } = (await accepted.json()) as { id: string };
    const own = reader(accepted);
    expect((await own.ended(id)).state).toBe('done');
    const output = own.fetch(`/v1/jobs/${id}/output`);
    await until(() => facilitator.calls.length > asked);
    facilitator.mood = 'well';
    expect((await output).status).toBe(200);
    expect(facilitator.transfers.filter(({ from }) => from === payer.address)).toHaveLength(1);
  });

  test('settled and hung up: nobody knows, the payer gets his answer, and no second payment is taken', async () => {
    const payer = agent();
    const accepted = await beforeVerdict(async () => {
      const response = await payer.pay('/v1/jobs', completion('who knows'));
      facilitator.mood = 'settles-and-hangs-up';
      return response;
    });
    const { id } = (await accepted.json()) as { id: string };
    const own = reader(accepted);
    await until(() => facilitator.transfers.at(-1)?.from === payer.address);
    facilitator.mood = 'well';
    expect((await own.fetch(`/v1/jobs/${id}/output`)).status).toBe(200);
    const state = ((await (await own.fetch(`/v1/jobs/${id}/payment`)).json()) as { state: string }).state;
    expect(['settled', 'unsure']).toContain(state);
    expect(facilitator.transfers.filter(({ from }) => from === payer.address)).toHaveLength(1);
  });

  test('a courier that dies between settling and writing takes nothing twice', async () => {
    for (const courier of couriers) courier.process.kill('SIGKILL');
    const doomed = await pipeline.courier({ ...sold, COUNTERSIGN_CRASH_AT: 'courier.after-settle:1' });
    const payer = agent();
    const accepted = await payer.pay('/v1/jobs', completion('crash'));
    const { id } = (await accepted.json()) as { id: string };
    expect(await doomed.exited).toBe('SIGKILL');
    // What the dead courier took comes back after its time; the test does not wait for it.
    await pipeline.redis.client('api').zadd(pipeline.redis.keys.payments, 'XX', 1, id);
    couriers = [await pipeline.courier(sold)];
    const own = reader(accepted);
    expect((await own.fetch(`/v1/jobs/${id}/output`)).status).toBe(200);
    expect(await (await own.fetch(`/v1/jobs/${id}/payment`)).json()).toMatchObject({
      state: 'unsure',
      problem: 'nonce_already_used',
    });
    expect(facilitator.transfers.filter(({ from }) => from === payer.address)).toHaveLength(1);
  });
});

describe("a payer's token", () => {
  test('reads its one job and nothing else', async () => {
    const payer = agent();
    const [mine, other] = [await payer.pay(CHAT, chat('mine')), await payer.pay(CHAT, chat('other'))];
    const own = reader(mine);
    expect((await own.fetch(`/v1/jobs/${jobOf(mine)}/output`)).status).toBe(200);
    for (const path of [`/v1/jobs/${jobOf(other)}`, '/v1/jobs', '/v1/usage', '/v1/events', '/v1/webhooks', '/v1/files'])
      expect([path, (await own.fetch(path)).status]).toEqual([path, 401]);
    expect((await own.post(`/v1/jobs/${jobOf(mine)}/cancel`, {})).status).toBe(403);
    expect((await own.post('/v1/jobs', completion('free?'))).status).toBe(401);
    const flipped = own.key.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'));
    const swapped = own.key.replace(jobOf(mine).slice(4), jobOf(other).slice(4));
    expect((await new Client(pipeline.url, flipped).fetch(`/v1/jobs/${jobOf(mine)}`)).status).toBe(401);
    expect((await new Client(pipeline.url, swapped).fetch(`/v1/jobs/${jobOf(other)}`)).status).toBe(401);
  });

  test('a payer whom the operator has disabled is sold nothing', async () => {
    const payer = agent();
    const signature = await payer.sign(CHAT, chat('x'));
    const admin = await pipeline.client('operator');
    const tenant = `x402-${payer.address.slice(2)}`;
    expect((await admin.post('/v1/admin/tenants', { name: tenant, limits: {} })).ok).toBe(true);
    await admin.fetch(`/v1/admin/tenants/${tenant}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ disabled: true }),
    });
    expect((await payer.send(CHAT, chat('x'), signature)).status).toBe(403);
  });
});

describe('terms that are not sound are refused at start', () => {
  test.each([
    ['another currency than the prices', { currency: 'EUR' }, 'the price table is in USD'],
    ['plain http to somewhere else', { facilitator: 'http://facilitator.example' }, 'must be https'],
    ['no way to pay', { accepts: [] }, 'accepts'],
    ['a member nobody knows', { acepts: [] }, 'acepts'],
  ])('%s', async (_, change, sentence) => {
    const good = {
      version: 1,
      facilitator: facilitator.url,
      resource: 'https://api.example',
      currency: 'USD',
      accepts: [{ scheme: 'upto', network: NETWORK, asset: TOKEN, payTo: SELLER, unitsPerMillionth: '1', extra: {} }],
    };
    const path = pipeline.file('bad-x402.json', { ...good, ...change });
    await expect(pipeline.courier({ ...sold, COUNTERSIGN_X402: path })).rejects.toThrow(sentence);
  });
});

import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SPAN_ATTRIBUTES } from '../../src/ground/tracing/span-table.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';
import { TraceCollector, type Exported } from '../support/trace-collector.ts';

const SECRET_WORDS = 'the-words-that-nobody-may-read';
/** A trace of a caller who records it. */
const traceOf = (digit: string) => ({ id: digit.repeat(32), header: `00-${digit.repeat(32)}-00f067aa0ba902b7-01` });

let collector: TraceCollector;
let pipeline: Pipeline;
let client: Client;
const hooks: IncomingHttpHeaders[] = [];
const receiver = createServer((request, response) => {
  hooks.push(request.headers);
  request.resume().on('end', () => response.writeHead(204).end());
});

beforeAll(async () => {
  collector = await TraceCollector.start();
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  pipeline = await Pipeline.start({
    models: [NOOP_MODEL],
    workers: 1,
    couriers: 1,
    env: {
      COUNTERSIGN_OTLP_ENDPOINT: collector.url,
      COUNTERSIGN_TRACE_SHARE: '0',
      'api:COUNTERSIGN_WEBHOOK_PRIVATE': 'allow',
      'courier:COUNTERSIGN_WEBHOOK_PRIVATE': 'allow',
    },
  });
  client = await pipeline.client();
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
  receiver.closeAllConnections();
  receiver.close();
});

async function done(headers: Record<string, string>, more: object = {}): Promise<string> {
  const answer = await client.post('/v1/jobs', completion(SECRET_WORDS, more), { prefer: 'wait=30', ...headers });
  const job = (await answer.json()) as { id: string; state: string };
  expect(job.state).toBe('done');
  return job.id;
}

/** What the spans of a trace say of each: who made it, and within which. */
function shapeOf(spans: readonly Exported[]): Record<string, { by: string; in: string | undefined; kind: number }> {
  const names = new Map(spans.map(({ spanId, name }) => [spanId, name]));
  return Object.fromEntries(
    spans.map(({ name, service, parent, kind }) => [
      name,
      { by: service.replace('countersign-', ''), in: parent === undefined ? undefined : names.get(parent), kind },
    ]),
  );
}

describe('a collector of traces', () => {
  test("gets one trace of a job, from the caller's request to the webhook, through every role", async () => {
    const { id: trace, header } = traceOf('4');
    const { port } = receiver.address() as AddressInfo;
    const webhook = { url: `http://127.0.0.1:${port}/?token=${SECRET_WORDS}` };
    const id = await done({ traceparent: header }, { webhook });
    // The checks are made in two turns: quick ones, then the answer is computed again.
    await until(() => collector.of(trace).length === 10);
    const spans = collector.of(trace);
    const [server, client_, internal, producer, consumer] = [2, 3, 1, 4, 5];
    expect(shapeOf(spans)).toEqual({
      'POST /v1/jobs': { by: 'api', in: undefined, kind: server },
      'send default.noop': { by: 'api', in: 'POST /v1/jobs', kind: producer },
      wait: { by: 'attestor', in: 'send default.noop', kind: internal },
      'process noop': { by: 'worker', in: 'send default.noop', kind: consumer },
      'text_completion noop': { by: 'worker', in: 'process noop', kind: client_ },
      confirm: { by: 'attestor', in: 'send default.noop', kind: consumer },
      log: { by: 'attestor', in: 'send default.noop', kind: internal },
      enter: { by: 'courier', in: 'send default.noop', kind: internal },
      POST: { by: 'courier', in: 'enter', kind: client_ },
    });
    expect(spans.find(({ name }) => name === 'POST /v1/jobs')?.parent).toBe('00f067aa0ba902b7');
    const hook = spans.find(({ name }) => name === 'POST');
    expect(hooks.at(-1)?.['traceparent']).toBe(`00-${trace}-${hook?.spanId}-01`);
    expect(spans.find(({ name }) => name === 'text_completion noop')?.attributes).toMatchObject({
      'gen_ai.operation.name': 'text_completion',
      'gen_ai.provider.name': 'noop',
      'gen_ai.request.model': 'noop',
      'gen_ai.response.finish_reasons': ['stop'],
    });
    for (const { attributes, ms, isError, name } of spans) {
      expect([name, ms >= 0, isError]).toEqual([name, true, false]);
      expect(Object.keys(attributes).filter((key) => !(key in SPAN_ATTRIBUTES))).toEqual([]);
      if (!name.startsWith('POST') && !name.startsWith('text')) expect(attributes['countersign.job.id']).toBe(id);
    }
  });

  test('gets nothing of what no caller records, of a header that is none, and of whoever only looks', async () => {
    const before = collector.spans.length;
    await done({});
    await done({ traceparent: `00-${'5'.repeat(32)}-00f067aa0ba902b7-00` });
    await done({ traceparent: `00-${'5'.repeat(32)}-00f067aa0ba902b7-01\u00ff` });
    await client.fetch('/v1/jobs');
    // What came before would have been sent with what comes now.
    const { id, header } = traceOf('6');
    await done({ traceparent: header });
    await until(() => collector.of(id).length >= 8);
    expect(collector.spans.slice(before).filter(({ traceId }) => traceId !== id)).toEqual([]);
  });

  test('gets the code of a refusal, and no word of what was asked', async () => {
    const { id, header } = traceOf('7');
    const answer = await client.post('/v1/jobs', completion(SECRET_WORDS, { deadline_s: 1e9 }), {
      traceparent: header,
    });
    expect(answer.status).toBe(400);
    await until(() => collector.of(id).length === 1);
    expect(collector.of(id)[0]?.attributes['http.response.status_code']).toBe(400);
  });

  test('gets requests of the form of the protocol only, and no prompt, answer, key or query of an address', () => {
    expect(collector.refused).toEqual([]);
    expect(collector.spans.length).toBeGreaterThan(15);
    for (const secret of [SECRET_WORDS, client.key, client.key.split('_').at(-1) ?? '', 'token='])
      expect(collector.raw).not.toContain(secret);
  });

  test('that goes away holds up no job, and no stop', async () => {
    await collector[Symbol.asyncDispose]();
    await done({ traceparent: traceOf('8').header });
    const worker = pipeline.running().find(({ name }) => name.startsWith('worker'));
    worker?.process.kill('SIGTERM');
    expect(await worker?.exited).toBe(0);
  });
});

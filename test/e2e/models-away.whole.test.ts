import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SEEN_MS } from '../../src/core/engines/inference-server.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client, type Role } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';

/** A server of one model that speaks as much of the OpenAI API as the engine asks for. */
class ModelServer {
  readonly url: string;
  readonly #port: number;
  #server: Server | undefined;
  /** It says that it is there, and answers no question. */
  isBroken = false;

  constructor(port: number) {
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      if (request.url === '/v1/models') {
        response.end(JSON.stringify({ data: [{ id: 'toy' }] }));
        return;
      }
      if (this.isBroken) {
        response.writeHead(500).end('out of memory');
        return;
      }
      const chunk = { choices: [{ text: 'an answer', finish_reason: 'stop' }] };
      response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.closeAllConnections();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  }
}

interface Workers {
  readonly workers: { models: { name: string }[]; away?: { name: string; why: string }[] }[];
}

let server: ModelServer;
let pipeline: Pipeline;
let client: Client;
let worker: Role;

const remote = () => ({
  name: 'remote',
  pool: 'default',
  tasks: ['completion'],
  engine: 'openai',
  sha256: sha256Hex('toy'),
  baseUrl: server.url,
  remoteModel: 'toy',
});
const ask = (model: string) => completion('anybody there', { model, attempts: 1, attestation: { recompute: 0 } });
const served = async () => (await client.json<Workers>('/v1/workers')).workers[0]?.models.map(({ name }) => name);

beforeAll(async () => {
  server = new ModelServer(await fixedPort());
  pipeline = await Pipeline.prepare([NOOP_MODEL, remote()]);
  await Promise.all([pipeline.api(), pipeline.attestor()]);
  client = await pipeline.client('operator');
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await server.stop();
});

describe('a worker with a model whose server is away', () => {
  test('starts with the others, says which is away and why, and takes no delivery of it', async () => {
    worker = await pipeline.worker(1);
    expect(await until(served)).toEqual(['noop']);
    const { workers } = await client.json<Workers>('/v1/workers');
    expect(workers[0]?.away).toMatchObject([{ name: 'remote' }]);
    expect(workers[0]?.away?.[0]?.why).toContain('ECONNREFUSED');
    expect(worker.stderr()).toContain('a model is not served for now');
    const waiting = await client.submit(ask('remote'));
    for (let n = 0; n < 3; n += 1) expect((await client.run(ask('noop'))).state).toBe('done');
    expect(await client.job(waiting.id)).toMatchObject({ state: 'queued', attempts: [] });

    // It has one attempt, and that is for the server that is back.
    await server.start();
    expect((await client.ended(waiting.id)).state).toBe('done');
    expect((await until(async () => (await served())?.length === 2 && served())).toSorted()).toEqual([
      'noop',
      'remote',
    ]);
  });

  test('that dies later goes on with the others, uses up no attempt, and takes it up again', async () => {
    await server.stop();
    // A worker that has done another job since has heard whatever the server answered last, and it believes
    // in a server for no longer than this after an answer.
    expect((await client.run(ask('noop'))).state).toBe('done');
    const heardMs = performance.now();
    await until(() => performance.now() - heardMs > SEEN_MS);
    const jobs = [await client.submit(ask('remote')), await client.submit(ask('remote'))];
    await until(async () => (await served())?.join() === 'noop');
    expect((await client.run(ask('noop'))).state).toBe('done');
    for (const { id } of jobs) expect((await client.job(id)).attempts).toEqual([]);
    await server.start();
    for (const { id } of jobs) expect((await client.ended(id)).state).toBe('done');
    expect(worker.stderr()).toContain('a model is served again');
  });

  test('whose server is there and fails is given no more jobs, asks it itself, and takes it up again', async () => {
    server.isBroken = true;
    // Each has one attempt. After the fifth the circuit is open.
    for (let n = 0; n < 5; n += 1) expect((await client.run(ask('remote'))).state).toBe('failed');
    const waiting = await client.submit(ask('remote'));
    await until(async () => (await served())?.join() === 'noop');
    const why = async () => client.json<{ held_by: string }>(`/v1/jobs/${waiting.id}/why`);
    expect(await until(async () => (await why()).held_by === 'engine_away' && why())).toMatchObject({
      held_by: 'engine_away',
      numbers: { workers: 1 },
    });
    const { workers } = await client.json<Workers>('/v1/workers');
    expect(workers[0]?.away).toMatchObject([{ name: 'remote', why: expect.stringContaining('answered 500') }]);
    expect(worker.stderr()).toContain('its jobs fail in a row');
    expect((await client.run(ask('noop'))).state).toBe('done');
    expect(await client.job(waiting.id)).toMatchObject({ state: 'queued', attempts: [] });
    server.isBroken = false;
    expect(await client.ended(waiting.id)).toMatchObject({ state: 'done', attempts: [expect.anything()] });
  });

  test('and no other model does not start, with the reason', async () => {
    await server.stop();
    await expect(pipeline.worker(2, { COUNTERSIGN_MODELS: 'remote' })).rejects.toThrow('engine_away');
  });

  test('leaves at once when it is told to', async () => {
    await until(async () => (await served())?.join() === 'noop');
    worker.process.kill('SIGTERM');
    expect(await worker.exited).toBe(0);
  });
});

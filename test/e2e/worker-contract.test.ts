import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { ModelServer } from '../support/model-server.ts';
import { NOOP_MODEL, Pipeline, SHORT_LEASE, completion, until, type Client, type Role } from '../support/pipeline.ts';
import type { Pool } from '../support/redis.ts';

/**
 * What a worker promises, whichever way it reaches its pool. The pool `default` is served by workers with a
 * login of Redis, the pool `gold` through gateways; api, attestor, models and cases are the same.
 */
let models: ModelServer;
let pipeline: Pipeline;
let client: Client;
let gateway: Role;

beforeAll(async () => {
  models = await ModelServer.start();
  pipeline = await Pipeline.prepare(
    (['default', 'gold'] as const).flatMap((pool) => [
      { ...NOOP_MODEL, name: `noop-${pool}`, pool },
      models.model(`toy-${pool}`, pool),
    ]),
  );
  [gateway] = await Promise.all([startGateway(), pipeline.api(), pipeline.attestor()]);
  client = await pipeline.client();
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await models[Symbol.asyncDispose]();
});

const startGateway = (env: Record<string, string> = {}) =>
  pipeline.gateway({ COUNTERSIGN_LEASE_MS: '6000', ...env }, 'gold');
const urlOf = (role: Role) => String(role.facts['url']);
const start = (pool: Pool, number: number, env: Record<string, string> = {}) =>
  pool === 'gold'
    ? pipeline.remoteWorker(number, urlOf(gateway), env, pool)
    : pipeline.worker(number, { ...SHORT_LEASE, ...env }, pool);
const unchecked = { attempts: 3, attestation: { recompute: 0 } };
const toy = (pool: Pool, prompt: string, more: object = {}) =>
  completion(prompt, { model: `toy-${pool}`, ...unchecked, params: { max_tokens: 50_000 }, ...more });
const stop = async (role: Role) => {
  role.process.kill('SIGTERM');
  return role.exited;
};

describe.each([['default'], ['gold']] as const)('a worker of the pool %s', (pool) => {
  let worker: Role;
  beforeAll(async () => {
    worker = await start(pool, 1);
  });
  afterAll(() => {
    worker.process.kill('SIGKILL');
  });

  test('its answers are confirmed by recomputation, and their receipts verify', async () => {
    const jobs = await Promise.all(
      Array.from({ length: 40 }, (_, at) => client.run(completion(`job ${at}`, { model: `noop-${pool}` }))),
    );
    expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(['done']));
    const id = jobs[0]?.id ?? '';
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
  });
});

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until, type Client } from './pipeline.ts';
import { SENTINEL_PASSWORD, type SentinelSet } from './redis-set.ts';
import type { TestServers } from './redis.ts';

/** Callers, and how long each rests after an answer: a load, and not a flood on a machine that is slow. */
const CALLERS = 4;
const REST_MS = 100;

/**
 * Callers who send jobs all along, each under an Idempotency-Key, and send what was not answered with 202
 * again. They see only what any client sees.
 */
export class Callers {
  /** Jobs that were accepted, in the order of their answers. */
  readonly accepted: string[] = [];
  /** What was answered instead, by status; 0 where there was no answer. */
  readonly refused = new Map<number, number>();
  #stopped = false;
  #calls: Promise<void>[] = [];

  constructor(client: Client, name: string) {
    this.#calls = Array.from({ length: CALLERS }, (_, caller) => this.#call(client, `${name}-${caller}`));
  }

  /** Resolves when so many more jobs were accepted. */
  async more(jobs: number): Promise<void> {
    const enough = this.accepted.length + jobs;
    await until(() => this.accepted.length >= enough);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#calls);
  }

  async #call(client: Client, name: string): Promise<void> {
    for (let number = 0; !this.#stopped; number += 1) {
      const key = `${name}-${number}`;
      const body = completion(key, { attempts: 10, deadline_ms: 600_000 });
      await until(async () => {
        const response = await client.post('/v1/jobs', body, { 'idempotency-key': `"${key}"` }).catch(() => undefined);
        if (response?.ok === true) {
          this.accepted.push(((await response.json()) as { id: string }).id);
          return true;
        }
        await response?.text();
        const status = response?.status ?? 0;
        this.refused.set(status, (this.refused.get(status) ?? 0) + 1);
        return this.#stopped;
      });
      await sleep(REST_MS);
    }
  }
}

/**
 * Waits until every one of these jobs has ended, and checks that each is done once and has a receipt that
 * verifies. Returns those that the service does not know any more.
 */
export async function endOnce(
  pipeline: Pipeline<TestServers>,
  client: Client,
  jobs: readonly string[],
): Promise<string[]> {
  const lost: string[] = [];
  for (const id of jobs) {
    const state = await until(async () => {
      const response = await client.fetch(`/v1/jobs/${id}`, { headers: { prefer: 'wait=30' } }).catch(() => undefined);
      if (response?.status === 404) return 'lost';
      if (response?.ok !== true) return undefined;
      const job = (await response.json()) as { state: string; ended_at: string | null };
      return job.ended_at === null ? undefined : job.state;
    });
    if (state === 'lost') lost.push(id);
    else expect([id, state]).toEqual([id, 'done']);
    if (state === 'done') verifyReceipt(await client.receipt(id), pipeline.keyring);
  }
  expect(new Set(jobs).size).toBe(jobs.length);
  const admin = pipeline.redis.client();
  expect(await admin.zcard(pipeline.redis.keys.ended)).toBe(jobs.length - lost.length);
  return lost;
}

/**
 * Ends or stops the master of a set while callers send jobs, and waits until the sentinels have made another:
 * no role ends, callers see nothing but 503 meanwhile, and every job that was accepted ends once. Returns the
 * jobs that the new master never heard of.
 */
export async function loseMaster(set: SentinelSet, signal: 'SIGKILL' | 'SIGSTOP'): Promise<string[]> {
  await using pipeline = Pipeline.over(set);
  const passwordFile = join(pipeline.folder, 'sentinel.password');
  writeSecretFile(passwordFile, SENTINEL_PASSWORD);
  const env = { COUNTERSIGN_SENTINEL_PASSWORD_FILE: passwordFile };
  await Promise.all([pipeline.api(env), pipeline.worker(1, env), pipeline.attestor(env), pipeline.courier(env)]);
  const client = await pipeline.client();
  const callers = new Callers(client, signal);
  await callers.more(20);
  const first = await set.master();
  first.signal(signal);
  await until(async () => (await set.master()) !== first);
  await callers.more(40);
  await callers.stop();
  const lost = await endOnce(pipeline, client, callers.accepted);
  expect([...callers.refused.keys()].filter((status) => status !== 503)).toEqual([]);
  expect(pipeline.running()).toHaveLength(4);
  return lost;
}

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toFile } from 'openai';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { BalancedClient } from '../support/balanced-client.ts';
import { Callers } from '../support/failover.ts';
import { OlderBuild } from '../support/older-build.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, completion, until, type Role } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';

/**
 * "Merge branch 'sched'" of 26 November 2026: the oldest commit whose documents, records and keys carry the
 * versions that this one knows and that can be built with the packages of this one.
 */
const OLDER = '9218d7b';

/** Variables that the older commit does not know, and refuses. */
const NEWER_VARIABLES: ReadonlySet<string> = new Set(['COUNTERSIGN_LOST_WORKERS']);

type Version = 'older' | 'newer';
type Kind = 'api' | 'courier' | 'attestor' | 'worker' | 'gateway' | 'remote';

/** Every order of the roles of one machine, and both orders of what is between it and others. */
const ORDERS = [...ordersOf(['api', 'courier', 'attestor', 'worker']), ...ordersOf(['gateway', 'remote'])];

function ordersOf(kinds: readonly Kind[]): Kind[][] {
  if (kinds.length < 2) return [[...kinds]];
  return kinds.flatMap((first) => ordersOf(kinds.filter((kind) => kind !== first)).map((rest) => [first, ...rest]));
}

let older: OlderBuild;
beforeAll(() => {
  older = new OlderBuild(OLDER);
});
afterAll(() => older[Symbol.dispose]());

/** An installation of the older commit that is brought up to this one, role by role, while it works. */
class Upgrade implements AsyncDisposable {
  readonly pipeline: Pipeline;
  readonly client: BalancedClient;
  readonly #roles = new Map<Kind, Role>();
  /** Where the gateway is, whichever it is: its workers go on asking there. */
  readonly #gatewayPort: number;

  private constructor(pipeline: Pipeline, client: BalancedClient, gatewayPort: number) {
    this.pipeline = pipeline;
    this.client = client;
    this.#gatewayPort = gatewayPort;
  }

  static async begin(kinds: readonly Kind[]): Promise<Upgrade> {
    const port = await fixedPort();
    const pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
    const upgrade = new Upgrade(pipeline, new BalancedClient('', await pipeline.key()), port);
    // A gateway knows the workers that an attestor has made known, and its workers ask it at their start.
    const all: readonly Kind[] = ['api', 'courier', 'attestor', 'worker', 'gateway', 'remote'];
    try {
      for (const kind of all.filter((kind, at) => at < 3 || kinds.includes(kind))) await upgrade.#start(kind, 'older');
      return upgrade;
    } catch (error) {
      await upgrade[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends the older one as a deployment does, with the newer one beside it. */
  async replace(kind: Kind): Promise<void> {
    const before = this.#roles.get(kind);
    // One address, one gateway: its workers wait for the next.
    if (kind !== 'gateway') await this.#start(kind, 'newer');
    this.client.urls.delete(kind === 'api' ? 'older' : '');
    before?.process.kill('SIGTERM');
    expect([kind, await before?.exited]).toEqual([kind, 0]);
    if (kind === 'gateway') await this.#start(kind, 'newer');
  }

  async #start(kind: Kind, version: Version): Promise<void> {
    const env = Object.entries({ ...this.#environment(kind), ...this.#own(kind, version) });
    const known = env.filter(([name]) => version === 'newer' || !NEWER_VARIABLES.has(name));
    const role = kind === 'remote' ? 'worker' : kind;
    const dist = version === 'older' ? older.dist : this.pipeline.dist;
    const started = await this.pipeline.run(kind, role, Object.fromEntries(known), dist);
    this.#roles.set(kind, started);
    if (kind === 'api') this.client.urls.set(version, String(started.facts['url']));
  }

  #environment(kind: Kind): Record<string, string> {
    if (kind !== 'remote') return this.pipeline.environment(kind);
    const { PATH = '', HOME = '', COUNTERSIGN_CATALOG = '' } = this.pipeline.environment('worker');
    return { PATH, HOME, COUNTERSIGN_CATALOG, COUNTERSIGN_GATEWAY_URL: `http://127.0.0.1:${this.#gatewayPort}` };
  }

  #own(kind: Kind, version: Version): Record<string, string> {
    const { folder } = this.pipeline;
    const pool = { COUNTERSIGN_POOL: 'default' };
    const ofPool = {
      ...pool,
      COUNTERSIGN_BLOBS: join(folder, 'blobs', 'default'),
      COUNTERSIGN_REDIS_USER: 'worker.default',
    };
    const key = { COUNTERSIGN_WORKER_KEY_FILE: join(folder, `worker-${version === 'older' ? 1 : 2}.key`) };
    if (kind === 'worker') return { ...ofPool, ...key };
    if (kind === 'remote') return { ...pool, ...key };
    if (kind === 'gateway') return { ...ofPool, COUNTERSIGN_PORT: String(this.#gatewayPort) };
    return kind === 'courier' ? { COUNTERSIGN_MEMORY_SOCKET: join(folder, `memory-${version}.sock`) } : {};
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.pipeline[Symbol.asyncDispose]();
  }
}

describe(`a rolling upgrade from ${OLDER} under load`, () => {
  test.each(ORDERS.map((order) => [order.join(', '), order] as const))(
    'in the order %s refuses, loses and spoils nothing',
    async (_, order) => {
      await using upgrade = await Upgrade.begin(order);
      const { pipeline, client } = upgrade;
      const waiting = await client.submit({ ...completion('since before'), model: 'by-hand', deadline_ms: 600_000 });
      const callers = new Callers(client, 'upgrade');
      await callers.more(10);
      const batches: string[] = [];
      for (const kind of order) {
        batches.push(await beginBatch(client));
        await upgrade.replace(kind);
        await callers.more(10);
      }
      await callers.stop();
      await pipeline.worker(3, {}, 'hands');

      expect([...callers.refused]).toEqual([]);
      expect(new Set(callers.accepted).size).toBe(callers.accepted.length);
      await eachOf([waiting.id, ...callers.accepted], async (id) => {
        const job = await client.ended(id);
        // What a gateway that ends had in its hands goes to another worker, and is no attempt.
        const attempts = job.attempts.filter(({ closed }) => closed?.why !== 'void');
        expect([id, job.state, attempts.map(({ closed }) => closed)]).toEqual([id, 'done', [null]]);
        verifyReceipt(await client.receipt(id), pipeline.keyring);
      });
      for (const id of batches) await isComplete(client, id);
      const jobs = callers.accepted.length + 1 + batches.length * LINES;
      await until(async () => {
        const { rows } = await client.json<{ rows: { jobs: number; done: number }[] }>('/v1/usage');
        return rows.reduce((sum, row) => sum + row.done, 0) === jobs && rows.every((row) => row.jobs === row.done);
      });
      await verifiesByOlder(pipeline, await client.receipt(callers.accepted.at(-1) ?? ''));
    },
    600_000,
  );
});

/** A few at a time, each as soon as it can be. */
async function eachOf<T>(all: readonly T[], look: (one: T) => Promise<void>): Promise<void> {
  const left = all.values();
  const take = async () => {
    for (const one of left) await look(one);
  };
  await Promise.all(Array.from({ length: 8 }, take));
}

const LINES = 40;

async function beginBatch({ url, key }: BalancedClient): Promise<string> {
  const openai = openaiOf({ url }, key);
  const body = { model: 'noop', max_tokens: 4 };
  const lines = Array.from({ length: LINES }, (_, at) =>
    JSON.stringify({
      custom_id: `line-${at}`,
      method: 'POST',
      url: '/v1/completions',
      body: { ...body, prompt: `line ${at}` },
    }),
  );
  const file = await openai.files.create({
    file: await toFile(Buffer.from(lines.join('\n')), 'lines.jsonl'),
    purpose: 'batch',
  });
  const { id } = await openai.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/completions',
    completion_window: '24h',
  });
  return id;
}

async function isComplete(client: BalancedClient, id: string): Promise<void> {
  const batch = await until(async () => {
    const found = await client.json<{ status: string; request_counts: object }>(`/v1/batches/${id}`);
    return found.status === 'completed' ? found : undefined;
  });
  expect(batch.request_counts).toEqual({ total: LINES, completed: LINES, failed: 0 });
}

/** Whoever checks receipts has not upgraded: the older verifier takes what the newer roles made. */
async function verifiesByOlder({ folder }: Pipeline, receipt: Buffer): Promise<void> {
  const path = join(folder, 'last.receipt.json');
  writeFileSync(path, receipt);
  const program = join(older.dist, 'roles', 'cli', 'main.js');
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder };
  await promisify(execFile)(process.execPath, [program, 'verify', path, '--keyring', join(folder, 'keyring.json')], {
    env,
  });
}

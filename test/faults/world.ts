import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Keyring, type KeyringFile } from '../../src/proof/receipts/keyring.ts';
import type { CancelAnswer, JobDocument } from '../../src/proof/contract/job-document.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { violations, type Seen } from './invariants.ts';
import { settle } from './settled.ts';

const PRICES = {
  version: 1,
  id: '2026-11',
  currency: 'EUR',
  models: {
    noop: { input: 1_000_000, output: 1_000_000 },
    'by-hand': { input: 1_000_000, output: 1_000_000 },
  },
};
/** How often a job is tried unless its caller says otherwise. */
const ATTEMPTS = 3;
/** Of how many messages a receiver refuses one at first. */
const REFUSED_EVERY = 5;

/** What a caller may ask of a job beside its prompt. */
interface Wishes {
  readonly attempts?: number;
  readonly model?: string;
  readonly deadline_ms?: number;
  readonly attestation?: object;
}

/** A pipeline and a caller of it, who writes down what is sent and what is seen of it. */
export class World implements AsyncDisposable {
  readonly pipeline: Pipeline;
  readonly client: Client;
  readonly history: Seen[] = [];
  /** Checkpoints that the caller has kept. */
  readonly checkpoints: string[] = [];
  /** What an API and a courier of this world are started with. */
  readonly apiEnv: Readonly<Record<string, string>>;
  readonly courierEnv: Readonly<Record<string, string>>;
  readonly #sent = new Set<string>();
  readonly #happened = new Map<string, number>();
  #receiver: Server | undefined;
  #keyring: Keyring;
  #hasBooks = false;

  private constructor(pipeline: Pipeline, client: Client, prices: Readonly<Record<string, string>>) {
    this.pipeline = pipeline;
    this.client = client;
    this.#keyring = pipeline.keyring;
    this.apiEnv = { ...prices, COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' };
    this.courierEnv = { ...this.apiEnv, COUNTERSIGN_WEBHOOK_SCHEDULE: '0,0.2,0.2,0.2,1,1,1' };
  }

  /** An API of this build and nothing else; each scene starts what it needs. */
  static async open(dist?: string, api: Readonly<Record<string, string>> = {}): Promise<World> {
    const pipeline = Pipeline.over(await TestRedis.start(), [NOOP_MODEL, BY_HAND_MODEL], dist);
    try {
      const prices = { COUNTERSIGN_PRICES: pipeline.file('prices.json', PRICES) };
      await pipeline.api({ ...prices, COUNTERSIGN_WEBHOOK_PRIVATE: 'allow', ...api });
      return new World(pipeline, await pipeline.client(), prices);
    } catch (error) {
      await pipeline[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** That a fault has happened: a scene in which it did not has shown nothing. */
  happens(fault: string): void {
    this.#happened.set(fault, (this.#happened.get(fault) ?? 0) + 1);
  }

  get happened(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#happened);
  }

  /** Sends a job under its key, again and again until it is accepted. */
  async submit(key: string, more: Wishes = {}): Promise<string> {
    this.#sent.add(key);
    const body = completion(key, { attempts: ATTEMPTS, ...more });
    const { id } = await until(async () => {
      this.client.url = this.pipeline.url;
      return this.client.submit(body, { 'idempotency-key': `"${key}"` }).catch(() => undefined);
    });
    this.history.push({ kind: 'accepted', key, job: id, attempts: more.attempts ?? ATTEMPTS });
    return id;
  }

  /** Sends a job once, whatever becomes of it: this caller does not ask again. */
  async ask(key: string): Promise<void> {
    this.#sent.add(key);
    await this.client.submit(completion(key), { 'idempotency-key': `"${key}"` }).catch(() => undefined);
  }

  async read(id: string): Promise<JobDocument> {
    this.client.url = this.pipeline.url;
    const job = await this.client.job(id);
    this.history.push({ kind: 'read', job: id, state: job.state, isFinal: job.ended_at !== null });
    return job;
  }

  /** Waits until a job has ended, and no longer than a scene waits for its end. */
  async ended(id: string, withinMs: number): Promise<void> {
    await until(async () => (await this.read(id)).ended_at !== null, withinMs).catch(() => undefined);
  }

  async cancel(id: string): Promise<void> {
    const answer = await this.client.post(`/v1/jobs/${id}/cancel`, undefined);
    const { outcome } = (await answer.json()) as { outcome: CancelAnswer['outcome'] };
    if (outcome === 'cancelled' || outcome === 'stopping') this.history.push({ kind: 'cancelled', job: id });
  }

  async keepCheckpoint(): Promise<void> {
    this.checkpoints.push(await (await this.client.fetch('/log/checkpoint')).text());
  }

  /** A worker of the pool where nobody works, in the hands of a scene: it runs the scripts of this build. */
  async hand(number: number, leaseMs?: number): Promise<HandWorker> {
    const { redis, dist, workerKeys } = this.pipeline;
    const built = pathToFileURL(join(dist, 'core', 'execution', 'claims.js')).href;
    const { Claims } = (await import(built)) as typeof import('../../src/core/execution/claims.ts');
    const key = workerKeys[number - 1];
    if (key === undefined) throw new Error(`There is no worker ${number}.`);
    return new HandWorker(redis.client('worker.hands'), redis.keys, key, leaseMs, BY_HAND_MODEL.pool, Claims);
  }

  /** Listens for every end; the receiver refuses some messages when they first come. It needs a courier. */
  async listen(): Promise<void> {
    this.#hasBooks = true;
    const seen = new Set<string>();
    const server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const body = Buffer.concat(pieces).toString();
        const { data } = JSON.parse(body) as { data: { job: string; state: string } };
        // One that refuses all would soon be left to rest.
        const isTaken = seen.has(body) || seen.size % REFUSED_EVERY !== 0;
        seen.add(body);
        const message = String(request.headers['webhook-id']);
        this.history.push({ kind: 'told', message, job: data.job, state: data.state, isTaken });
        if (!isTaken) this.happens('a receiver refused');
        response.writeHead(isTaken ? 204 : 500).end();
      });
    });
    this.#receiver = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const events = ['job.done', 'job.failed', 'job.cancelled', 'job.expired', 'job.rejected'];
    this.client.url = this.pipeline.url;
    const made = await this.client.post('/v1/webhooks', { url: `http://127.0.0.1:${port}/`, events });
    if (!made.ok) throw new Error(await made.text());
  }

  /** From here on the log is to be trusted only where this witness has signed as well. */
  requireWitness(line: string): void {
    const path = join(this.pipeline.folder, 'keyring.json');
    const file = JSON.parse(readFileSync(path, 'utf8')) as KeyringFile;
    const logPolicy = file.logPolicy.replace('quorum none', `${line}\nquorum ${line.split(' ')[1] ?? ''}`);
    this.#keyring = new Keyring({ ...file, logPolicy });
    writeFileSync(path, JSON.stringify({ ...file, logPolicy }));
  }

  /** What does not hold, once all has ended or had time to. */
  async violations(settleMs: number): Promise<string[]> {
    const { pipeline, client, checkpoints } = this;
    const settled = await settle(
      {
        pipeline,
        client,
        keyring: this.#keyring,
        settleMs,
        hasBooks: this.#hasBooks,
        isTold: this.#receiver !== undefined,
        checkpoints,
      },
      this.history,
    );
    return violations(this.#sent, this.history, settled);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pipeline[Symbol.asyncDispose]();
    this.#receiver?.closeAllConnections();
    await new Promise((resolve) => (this.#receiver === undefined ? resolve(0) : this.#receiver.close(resolve)));
  }
}

import { setImmediate as turn } from 'node:timers/promises';
import type { z } from 'zod';
import { GatewayClient, type GatewayRequest } from '../../src/core/remote/gateway-client.ts';
import { AskLeases, Commit, ROUTES, type Lease } from '../../src/core/remote/wire.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { decodeStored, encodeStored, signPayload } from '../../src/proof/receipts/dsse.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { statementBytes } from '../../src/proof/receipts/statements.ts';
import { api, documents } from './sample-receipts.ts';

/** A job at a played gateway, which may be attempted once. */
interface PlayedJob {
  readonly lease: Omit<Lease, 'epoch' | 'secret'>;
  state: 'waiting' | 'leased' | 'begun' | 'done' | 'lost';
  epoch: number;
  holder: Life | undefined;
}

/**
 * A pool behind one gateway, without processes: it keeps the rules of leases that a real one keeps, and every
 * answer takes a drawn number of turns of the event loop. A lease whose engine had begun is lost with its
 * holder; one that had not goes back.
 */
export class PlayedGateway {
  readonly random: () => number;
  readonly #model: string;
  readonly #jobs = new Map<string, PlayedJob>();
  readonly waiting: PlayedJob[] = [];
  #made = 0;
  /** Evidence of a job that had some already. */
  doubled = 0;

  constructor(model: string, random: () => number) {
    this.#model = model;
    this.random = random;
  }

  get made(): number {
    return this.#made;
  }

  count(state: PlayedJob['state']): number {
    return [...this.#jobs.values()].filter((job) => job.state === state).length;
  }

  /** Takes in so many jobs. */
  add(count: number): void {
    for (let at = 0; at < count; at += 1) {
      const id = newJobId('default', 1_790_000_000_000 + (this.#made += 1));
      const { ticket } = documents(this.#made);
      const input = JSON.stringify({ prompt: `job ${this.#made}` });
      const deadline = new Date(Date.now() + 3_600_000).toISOString();
      const predicate = { ...ticket.predicate, job: id, deadline, inputBytes: input.length };
      const subject = [{ name: 'input' as const, digest: { sha256: sha256Hex(input) } }] as typeof ticket.subject;
      const signed = signPayload(api, statementBytes({ ...ticket, subject, predicate }));
      const times = { remaining_ms: 3_600_000, acknowledge_within_ms: 5_000 };
      const lease = { job: id, model: this.#model, ticket: encodeStored(signed), input, ...times };
      const job: PlayedJob = { lease, state: 'waiting', epoch: 0, holder: undefined };
      this.#jobs.set(id, job);
      this.waiting.push(job);
    }
  }

  /** The connection of one life of a worker. */
  life(key: SigningKey): Life {
    return new Life(this, key);
  }

  /** Leases for a worker that has room for so many. */
  lease(holder: Life, slots: number): Lease[] {
    return this.waiting.splice(0, slots).map((job) => {
      Object.assign(job, { state: 'leased', epoch: job.epoch + 1, holder });
      return { ...job.lease, epoch: job.epoch, secret: '0'.repeat(16) };
    });
  }

  commit(holder: Life, id: string, { kind, epoch }: Commit): 'ok' | 'fenced' {
    const job = this.#jobs.get(id);
    if (job?.state === 'done' && kind === 'evidence') this.doubled += 1;
    if (job === undefined || job.holder !== holder || job.epoch !== epoch) return 'fenced';
    if (kind === 'begin') job.state = 'begun';
    else if (kind === 'evidence') Object.assign(job, { state: 'done', holder: undefined });
    else this.#goesBack(job);
    return 'ok';
  }

  /** What a worker held when it was killed. */
  killed(holder: Life): void {
    for (const job of this.#jobs.values()) {
      if (job.holder !== holder) continue;
      if (job.state === 'begun') Object.assign(job, { state: 'lost', holder: undefined });
      else this.#goesBack(job);
    }
  }

  #goesBack(job: PlayedJob): void {
    Object.assign(job, { state: 'waiting', holder: undefined });
    this.waiting.push(job);
  }
}

/** What one life of a worker says and hears. When it is over, nothing is said and nothing is heard. */
export class Life extends GatewayClient {
  readonly #gateway: PlayedGateway;
  /** It has said that it is idle and leaves, or that it is gone. */
  saidIdle = false;
  /** How often it wanted to say something of a job when it was dead: it held one, and was not idle. */
  unsaid = 0;
  answers = 0;
  #isDead = false;

  constructor(gateway: PlayedGateway, key: SigningKey) {
    super('http://127.0.0.1:1', key, createLogger('worker', 'fatal'));
    this.#gateway = gateway;
  }

  override async ask<Schema extends z.ZodType>(schema: Schema, request: GatewayRequest): Promise<z.infer<Schema>> {
    const isOfJob = request.target.startsWith(ROUTES.lease(''));
    if (this.#isDead && isOfJob) this.unsaid += 1;
    await this.#onItsWay(request.signal);
    const answer = await this.#answer(request);
    // What was said counts, though its answer may be lost.
    await this.#onItsWay(request.signal);
    if (saysIdle(request)) this.saidIdle = true;
    if (request.target === ROUTES.leases) this.answers += 1;
    return schema.parse(answer);
  }

  override stream(): Promise<Response> {
    return Promise.resolve(new Response(''));
  }

  kill(): void {
    this.#isDead = true;
    this.#gateway.killed(this);
  }

  async #onItsWay(signal: AbortSignal | undefined): Promise<void> {
    for (let turns = this.#gateway.random() * 8; turns > 0; turns -= 1) await turn();
    signal?.throwIfAborted();
    if (this.#isDead) throw new Error('This worker was killed.');
  }

  async #answer({ target, json, signal }: GatewayRequest): Promise<unknown> {
    if (target === ROUTES.leases) return { leases: await this.#leases(AskLeases.parse(json), signal) };
    if (target === ROUTES.renewals) return { leases: [], bar: null };
    if (target === ROUTES.announcement) return { bar: null, hardware_challenge: null };
    if (!target.startsWith(ROUTES.lease(''))) return undefined;
    return { reply: this.#gateway.commit(this, target.slice(ROUTES.lease('').length), Commit.parse(json)) };
  }

  async #leases({ models }: AskLeases, signal: AbortSignal | undefined): Promise<Lease[]> {
    const slots = models.reduce((sum, model) => sum + model.slots, 0);
    while (this.#gateway.waiting.length === 0) {
      await turn();
      signal?.throwIfAborted();
    }
    return this.#gateway.lease(this, slots);
  }
}

function saysIdle({ method, target, json }: GatewayRequest): boolean {
  if (target !== ROUTES.announcement) return false;
  if (method === 'DELETE') return true;
  const { announcement } = json as { announcement: string };
  const said = JSON.parse(decodeStored(Buffer.from(announcement))?.payload.toString('utf8') ?? '{}') as object;
  return 'state' in said && said.state === 'draining' && 'inFlight' in said && said.inFlight === 0;
}

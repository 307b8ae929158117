import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { LossyProxy } from '../support/lossy-proxy.ts';
import { Pipeline, SHORT_LEASE, completion, until, type Client, type Role } from '../support/pipeline.ts';
import { drawsOf } from '../support/toy-model.ts';
import { violations, type Seen, type Settled } from './invariants.ts';

/** What is done to the processes while jobs arrive. */
export type Fault =
  'worker killed' | 'worker stopped' | 'attestor killed' | 'api killed' | 'redis killed' | 'reply lost';

export interface Scenario {
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly jobs: number;
  /** Jobs arrive at this pace whatever becomes of them: an open loop, which does not wait for answers. */
  readonly perSecond: number;
  /** How long all that is left has to end once the faults have stopped. */
  readonly settleMs: number;
}

export interface Outcome {
  readonly violations: readonly string[];
  readonly jobs: number;
  /** How often each fault happened: a run in which one did not has shown nothing. */
  readonly happened: Readonly<Record<string, number>>;
}

/** Of how many scripts of a process one loses its reply. */
const LOST_EVERY = 13;
/** Between two faults, ms. */
const FAULT_EVERY_MS = [300, 1_500] as const;
/** Longer than the lease of a worker that is stopped. */
const STOPPED_MS = 2_500;

/** Runs one scenario: jobs and faults, then peace, then the check. The same seed makes the same faults. */
export async function runScenario(scenario: Scenario): Promise<Outcome> {
  const { seed, faults, jobs } = scenario;
  await using pipeline = await Pipeline.prepare();
  const draw = drawsOf(seed);
  await using redis = new FaultyRedis(pipeline, faults.includes('reply lost'));
  const roles = {
    worker: [1, 2].map((number) => async () => pipeline.worker(number, { ...SHORT_LEASE, ...(await redis.via()) })),
    attestor: async () => pipeline.attestor(await redis.via()),
    api: async () => pipeline.api(await redis.via()),
  };
  const [api, attestor, ...workers] = await Promise.all([
    roles.api(),
    roles.attestor(),
    ...roles.worker.map((start) => start()),
  ]);
  const running = { api, attestor, workers };
  const client = await pipeline.client();
  const happened: Record<string, number> = Object.fromEntries(faults.map((fault) => [fault, 0]));
  const count = (fault: Fault) => (happened[fault] = (happened[fault] ?? 0) + 1);

  const kill = async (role: Role, again: () => Promise<Role>): Promise<Role> => {
    role.process.kill('SIGKILL');
    await role.exited;
    return again();
  };
  const inflict: Record<Fault, () => Promise<void>> = {
    'worker killed': async () => {
      const at = draw() < 0.5 ? 0 : 1;
      const [victim, again] = [running.workers[at], roles.worker[at]];
      if (victim && again) running.workers[at] = await kill(victim, again);
    },
    'worker stopped': async () => {
      const victim = running.workers[draw() < 0.5 ? 0 : 1];
      victim?.process.kill('SIGSTOP');
      await pause(STOPPED_MS);
      victim?.process.kill('SIGCONT');
    },
    'attestor killed': async () => void (running.attestor = await kill(running.attestor, roles.attestor)),
    'api killed': async () => void (running.api = await kill(running.api, roles.api)),
    'redis killed': async () => {
      await pipeline.redis.kill();
      await pipeline.redis.restart();
    },
    // The proxies lose replies by themselves.
    'reply lost': () => Promise.resolve(),
  };

  const stop = new AbortController();
  const nemesis = (async () => {
    const own = faults.filter((fault) => fault !== 'reply lost');
    while (!stop.signal.aborted && own.length > 0) {
      const fault = own[Math.floor(draw() * own.length)];
      if (fault === undefined) return;
      await inflict[fault]();
      count(fault);
      const [least, most] = FAULT_EVERY_MS;
      await pause(least + draw() * (most - least));
    }
  })();
  const history: Seen[] = [];
  const sent = await arrivals(scenario, pipeline, client, history);
  stop.abort();
  await nemesis;
  if (faults.includes('reply lost')) happened['reply lost'] = redis.lost;
  const settled = await settle(pipeline, client, history, scenario.settleMs);
  return { violations: violations(sent, history, settled), jobs, happened };
}

/** The way of each process to Redis: its own, and where replies are lost a proxy of its own. */
class FaultyRedis implements AsyncDisposable {
  readonly #pipeline: Pipeline;
  readonly #isLossy: boolean;
  readonly #proxies: LossyProxy[] = [];

  constructor(pipeline: Pipeline, isLossy: boolean) {
    this.#pipeline = pipeline;
    this.#isLossy = isLossy;
  }

  get lost(): number {
    return this.#proxies.reduce((sum, { lost }) => sum + lost, 0);
  }

  async via(): Promise<Record<string, string>> {
    if (!this.#isLossy) return {};
    const path = join(this.#pipeline.folder, `lossy-${this.#proxies.length}-${Date.now() % 100_000}.sock`);
    const proxy = await LossyProxy.start(path, this.#pipeline.redis.url.slice('unix://'.length), LOST_EVERY);
    this.#proxies.push(proxy);
    return { COUNTERSIGN_REDIS_URL: proxy.url };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]();
  }
}

/** Sends each job at its time, again and again under its key until there is an answer; returns the keys. */
async function arrivals(
  { jobs, perSecond, settleMs }: Scenario,
  pipeline: Pipeline,
  client: Client,
  history: Seen[],
): Promise<Set<string>> {
  const begin = performance.now();
  const sent = new Set<string>();
  await Promise.all(
    Array.from({ length: jobs }, async (_, at) => {
      await pause(Math.max(0, begin + (1_000 * at) / perSecond - performance.now()));
      const key = `job-${at}`;
      sent.add(key);
      const job = await until(async () => {
        client.url = pipeline.url;
        return client
          .submit(completion(key, { attempts: 10 }), { 'idempotency-key': `"${key}"` })
          .catch(() => undefined);
      }, settleMs).catch(() => undefined);
      if (job === undefined) return;
      history.push({ kind: 'accepted', key, job: job.id });
      const seen = await client.job(job.id).catch(() => undefined);
      if (seen !== undefined)
        history.push({ kind: 'read', job: job.id, state: seen.state, isFinal: seen.ended_at !== null });
    }),
  );
  return sent;
}

/** What stands once everything has ended, or had time to. */
async function settle(
  pipeline: Pipeline,
  client: Client,
  history: readonly Seen[],
  settleMs: number,
): Promise<Settled> {
  client.url = pipeline.url;
  const admin = pipeline.redis.client();
  const { keys } = pipeline.redis;
  await until(async () => (await admin.zcard(keys.open)) + (await admin.zcard(keys.unsealed)) === 0, settleMs).catch(
    () => undefined,
  );
  const listed = [...(await admin.zrange(keys.ended, '0', '-1')), ...(await admin.zrange(keys.open, '0', '-1'))];
  const accepted = history.flatMap((seen) => (seen.kind === 'accepted' ? [seen.job] : []));
  const jobs: Settled['jobs'][number][] = [];
  for (const id of new Set([...listed, ...accepted])) {
    const job = await client.job(id).catch(() => undefined);
    if (job === undefined) continue;
    const hasReceipt = await verifies(pipeline, client, id);
    jobs.push({ job: id, state: job.state, isFinal: job.ended_at !== null, hasReceipt });
  }
  const entries = await admin.lrange(keys.logTail, 0, -1);
  return { jobs, places: entries.filter((entry) => entry.includes('/verdict"')).length };
}

async function verifies(pipeline: Pipeline, client: Client, id: string): Promise<boolean> {
  try {
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
    return true;
  } catch {
    return false;
  }
}

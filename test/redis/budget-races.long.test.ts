import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Rulings } from '../../src/core/confirmation/rulings.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import type { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import type { SubmitOptions } from '../../src/surfaces/admission/admission.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import type { Caller } from '../../src/surfaces/tenants/api-key.ts';
import { BUDGETS, type Limits } from '../../src/surfaces/tenants/limits.ts';
import { TOKEN_PRICES, twoAdmissions, type admissionTo } from '../support/admission.ts';
import type { TestRedis } from '../support/redis.ts';

const RUNS = 100;
const AT_ONCE = 1_000;
const PROMPT = { prompt: 'x' };
/** Where a unit stands in an account, and what whoever finds too little of it left is refused with. */
const FIELD = { money: 'EUR', tokens: 'tokens', requests: 'requests', jobs: 'jobs' } as const;
const REFUSED_WITH = {
  money: 'spend_held',
  tokens: 'spend_held',
  requests: 'spend_exceeded',
  jobs: 'rate_limited',
} as const;

let server: TestRedis;
let admin: Redis;
/** Two of them, as of two processes, APIs or couriers. */
let admissions: ReturnType<typeof admissionTo>[];
let rulings: Rulings;
let keys: ApiKeys;
beforeAll(async () => {
  ({ server, admin, admissions, rulings } = await twoAdmissions(TOKEN_PRICES));
  keys = new ApiKeys(server.client('api'), server.keys);
});
afterAll(() => server[Symbol.asyncDispose]());

/** Ways in: by whom a request is sent, how, and of how many jobs it is. */
const WAYS = {
  'one key': { keys: 1, isBackground: false, jobs: 1 },
  'lines of batches': { keys: 1, isBackground: true, jobs: 1 },
  'a key and the one that it was rotated to': { keys: 2, isBackground: false, jobs: 1 },
  'people and batches, of both keys, several jobs at once': { keys: 2, isBackground: 'half', jobs: 3 },
} as const;
type Way = keyof typeof WAYS;

interface Race {
  readonly name: keyof Limits;
  readonly of: 'tenant' | 'key';
  readonly way: Way;
}
const RACES: readonly Race[] = [...BUDGETS.map(({ name }) => name), 'concurrent_jobs' as const].flatMap((name) =>
  (['tenant', 'key'] as const).flatMap((of) => (Object.keys(WAYS) as Way[]).map((way): Race => ({ name, of, way }))),
);

const bodies = (sizes: readonly number[]): SubmitJob[] =>
  sizes.map((max_tokens) => ({ model: 'noop', task: 'completion', input: PROMPT, params: { max_tokens } }));

/** What a request is refused with; undefined where it is accepted. */
async function sent(caller: Caller, sizes: readonly number[], options: SubmitOptions, at: number) {
  try {
    const admitted = await admissions[at % 2]?.submitAll(caller, bodies(sizes), options);
    return { ids: (admitted ?? []).map(({ id }) => id), code: undefined };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return { ids: [], code: error.code };
  }
}

/** Keys of a tenant, the first of them rotated to the second. */
async function callers(tenant: string, count: number, { name, of }: Race, limit: number): Promise<Caller[]> {
  const limits = { [name]: limit };
  const scopes = ['submit'] as const;
  await admin.hset(server.keys.tenant(tenant), {
    createdAt: '',
    limits: JSON.stringify(of === 'tenant' ? limits : {}),
  });
  const first = await keys.create('me', { tenant, scopes, ...(of === 'key' ? { limits } : {}) });
  const texts = count === 1 ? [first] : [first, await keys.rotate('me', first.keyId, 3_600_000)];
  const found = await Promise.all(texts.map(({ text }) => keys.authenticate(text)));
  return found.flatMap((caller) => caller ?? []);
}

/** The tokens that a request with this prompt may use beside those that it may generate. */
async function tokensBeside(): Promise<number> {
  const [caller] = await callers('measured', 1, { name: 'tokens', of: 'tenant', way: 'one key' }, 1_000_000);
  if (caller !== undefined) await sent(caller, [1], {}, 0);
  return Number(await admin.hget(server.keys.account('measured'), 'tokens:held')) - 1;
}

/** What each request of a race asks for. */
class Requests {
  readonly unit: 'money' | 'tokens' | 'requests' | 'jobs';
  readonly #run: number;
  readonly #way: (typeof WAYS)[Way];
  readonly #beside: number;

  constructor(run: number, { name, way }: Race, beside: number) {
    this.unit = BUDGETS.find((one) => one.name === name)?.unit ?? 'jobs';
    this.#run = run;
    this.#way = WAYS[way];
    this.#beside = beside;
  }

  /** The tokens that each of its jobs may generate. */
  sizes(at: number): number[] {
    return Array.from(
      { length: 1 + (at % this.#way.jobs) },
      (_, job) => 1 + ((at * 7_919 + job * 31 + this.#run) % 97),
    );
  }

  /** What it takes of the budget. */
  takes(at: number): number {
    if (this.unit === 'requests') return 1;
    if (this.unit === 'jobs') return this.sizes(at).length;
    return this.sizes(at).reduce((sum, size) => sum + size + (this.unit === 'tokens' ? this.#beside : 0), 0);
  }

  isBackground(at: number): boolean {
    const { isBackground } = this.#way;
    return isBackground === 'half' ? Math.floor(at / 2) % 2 === 0 : isBackground;
  }

  /** What all of them take. */
  get whole(): number {
    return Array.from({ length: AT_ONCE }, (_, at) => this.takes(at)).reduce((sum, one) => sum + one, 0);
  }
}

/** How much was taken beyond the limit, and how many were refused that fit. */
async function raceOf(run: number, race: Race, beside: number): Promise<{ over: number; wrong: number }> {
  const requests = new Requests(run, race, beside);
  const { unit } = requests;
  const limit = Math.floor(requests.whole / 9) + run;
  const tenant = `race-${run}`;
  const who = await callers(tenant, WAYS[race.way].keys, race, limit);
  const answers = await Promise.all(
    Array.from({ length: AT_ONCE }, (_, at) => {
      const caller = who[at % who.length];
      if (caller === undefined) throw new Error('There is no key.');
      // Each key comes by both processes.
      return sent(caller, requests.sizes(at), { isBackground: requests.isBackground(at) }, at >> 2);
    }),
  );
  const took = answers.reduce((sum, { ids }, at) => sum + (ids.length === 0 ? 0 : requests.takes(at)), 0);
  let wrong = 0;
  for (const [at, { ids, code }] of answers.entries()) {
    if (ids.length > 0) continue;
    expect([race, code]).toEqual([race, REFUSED_WITH[unit]]);
    // Of what is open at once, background work leaves a quarter to people.
    const kept = unit === 'jobs' && requests.isBackground(at) ? Math.floor(limit / 4) : 0;
    // What is left only shrinks here: whoever fits at the end fitted at any time.
    if (requests.takes(at) <= limit - took - kept) wrong += 1;
  }
  // What stands in the books is what was accepted, and goes back to the last unit.
  const books = await admin.hgetall(server.keys.account(tenant));
  const owner = race.of === 'key' ? `${who[0]?.keyId ?? ''}:` : '';
  const counted =
    Number(books[`${owner}${FIELD[unit]}:held`] ?? 0) + Number(books[`${owner}${FIELD[unit]}:spent`] ?? 0);
  if (unit !== 'jobs' || race.of === 'key') expect([race, counted]).toEqual([race, took]);
  await end(answers.flatMap(({ ids }) => ids));
  const held = Object.entries(await admin.hgetall(server.keys.account(tenant))).filter(([name]) =>
    name.endsWith(':held'),
  );
  expect([race, held.filter(([, amount]) => amount !== '0')]).toEqual([race, []]);
  return { over: Math.max(0, took - limit), wrong };
}

test(`${AT_ONCE} at once at the edge of every budget, on every way in, ${RUNS} times: none over it, and none refused that fits`, async () => {
  const beside = await tokensBeside();
  const all = { over: 0, wrong: 0 };
  for (let run = 0; run < RUNS; run += 1) {
    const race = RACES[run % RACES.length];
    if (race === undefined) continue;
    const { over, wrong } = await raceOf(run, race, beside);
    all.over += over;
    all.wrong += wrong;
  }
  process.stdout.write(`${RUNS} races of ${AT_ONCE}, of ${RACES.length} kinds: ${JSON.stringify(all)}\n`);
  expect(all).toEqual({ over: 0, wrong: 0 });
}, 900_000);

/** The jobs end without an answer, and without one that was begun. */
async function end(ids: readonly string[]): Promise<void> {
  for (let from = 0; from < ids.length; from += 200)
    await rulings.apply(
      ids.slice(from, from + 200).map((id) => ({
        id,
        epoch: 0,
        phases: ['queued'],
        action: { kind: 'end', state: 'cancelled' },
        code: 'cancelled',
        detail: '',
      })),
    );
}

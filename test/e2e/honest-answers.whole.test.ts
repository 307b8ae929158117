import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CatalogModel } from '../../src/core/catalog/catalog.ts';
import { EngineError, type Engine, type EngineResult } from '../../src/core/engines/engine.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { textOfOutput } from '../../src/proof/tasks/task-input.ts';
import { Courtroom } from '../support/courtroom.ts';
import { EMBEDDINGS, SERVED, SERVED_REQUESTS, admitted, type Admitted } from '../support/drawn-requests.ts';
import { embedModel } from '../support/pipeline.ts';
import { ROOT, TestRedis } from '../support/redis.ts';
import { IS_LONG } from '../support/thorough.ts';

/**
 * What becomes of an honest worker's answer, whatever was asked: the verdict of a real judge, which computes
 * again what can be, or the code of the failure with which the worker gave the job back.
 */
async function verdictOn(room: Courtroom, worker: Engine, { task, plan }: Admitted, recompute: number) {
  const asked = { task, params: plan.params, input: plan.input, policy: { ...plan.policy, recompute } };
  try {
    const { filed, streamed, output } = await room.attempt(worker, asked);
    const judged = await room.judge.judgeFully(filed.file);
    const text = textOfOutput(JSON.parse(output));
    return { judged: judged?.kind === 'rule' ? judged.ruling : judged?.kind, isPrefix: text.startsWith(streamed) };
  } catch (error) {
    if (error instanceof EngineError) return error.code;
    throw error;
  }
}

const CONFIRMED = { judged: 'confirmed', isPrefix: true };

const MOST_ROUNDS = 20;

describe('an honest answer is confirmed, whatever a tenant asks', () => {
  test.each(EMBEDDINGS)('embeddings at %s, on a machine with one core and on this one', async (_, drawn) => {
    await using server = await TestRedis.start();
    await using room = await Courtroom.open(server, CatalogModel.parse(embedModel()));
    await using machine = new OneCore(room.engine);
    let confirmed = 0;
    await fc.assert(
      fc.asyncProperty(drawn, async ({ body, read }) => {
        for (const job of await admitted(read)) {
          const verdict = await verdictOn(room, machine, job, 1);
          expect([body, verdict]).toEqual([body, verdict === 'context_exceeded' ? verdict : CONFIRMED]);
          confirmed += 1;
        }
      }),
      { numRuns: IS_LONG ? 300 : 25 },
    );
    expect(confirmed).toBeGreaterThan(0);
  });

  test.each(SERVED_REQUESTS)('%s, asked of a server that says what it likes', async (surface, drawn) => {
    await using server = await TestRedis.start();
    await using served = await Served.start();
    const model = CatalogModel.parse(served.model);
    await using room = await Courtroom.open(server, model);
    const seen = new Set<unknown>();
    const holds = fc.asyncProperty(
      drawn,
      surface.includes('embed') ? vectors : frames,
      async ({ body, read }, said) => {
        served.says = said;
        for (const job of await admitted(read)) {
          const verdict = await verdictOn(room, room.engine, job, 0);
          expect([body, said, verdict]).toEqual([body, said, typeof verdict === 'string' ? verdict : CONFIRMED]);
          seen.add(typeof verdict === 'string' ? verdict : 'confirmed');
        }
      },
    );
    // Of what is drawn most is refused, or answered with nonsense: a few draws may confirm nothing.
    for (let round = 0; round < MOST_ROUNDS && !seen.has('confirmed'); round += 1)
      await fc.assert(holds, { numRuns: IS_LONG ? 1_000 : 60 });
    expect([...seen]).toContain('confirmed');
  });
});

/** An engine in a process that has one core: it computes with another number of threads. */
class OneCore implements Engine, AsyncDisposable {
  readonly identity;
  readonly model;
  readonly parallel = 1;
  readonly repeatable = 'within-tolerance' as const;
  readonly #child = spawn('taskset', ['-c', '0', process.execPath, join(ROOT, 'test/fixtures/embedding-machine.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  readonly #lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();

  constructor({ identity, model }: Engine) {
    this.identity = identity;
    this.model = model;
  }

  async *run(work: object, input: unknown): AsyncGenerator<string, EngineResult> {
    this.#child.stdin.write(`${JSON.stringify({ work, input })}\n`);
    const line = await this.#lines.next();
    const answer = JSON.parse(String(line.value)) as EngineResult & { code?: 'context_exceeded' | 'engine_error' };
    if (answer.code !== undefined) throw new EngineError(answer.code, 'The other machine could not.');
    return answer;
  }

  close = () => Promise.resolve();

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    await once(this.#child, 'exit');
  }
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom('', 'the ', 'n him,', '\uD83D', '\uDE00', '\uFFFD', '\u0000', null),
);
const count = fc.constantFrom(0, 1, 7, 2 ** 31, 2 ** 53 - 1, 2 ** 53, -1, 0.5, null);
const usage = fc.option(
  fc.record({ prompt_tokens: count, completion_tokens: count, total_tokens: count }, { requiredKeys: [] }),
);
const call = fc.record(
  {
    index: fc.constantFrom(0, 1, null),
    id: fc.constantFrom('call_1', 'call_2', '', 'x'.repeat(129), null),
    type: fc.constant('function'),
    function: fc.record(
      {
        name: fc.constantFrom('f', 'get_weather', 'a'.repeat(65), '', null),
        arguments: fc.constantFrom('{}', '{"a":', '1}', '{"a":"\uD83D"}', '', null),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);
const said = fc.record(
  {
    role: fc.constant('assistant'),
    content: text,
    reasoning_content: text,
    tool_calls: fc.option(fc.array(call, { maxLength: 2 })),
  },
  { requiredKeys: [] },
);
const reason = fc.constantFrom(null, null, null, 'stop', 'length', 'tool_calls', 'content_filter', 'eos', 'abort');
const logprob = fc.record({ token: fc.string(), logprob: fc.constantFrom(-0.1, 0, -1e308), extra: fc.jsonValue() });
const frame = fc.record({
  choices: fc.oneof(
    {
      weight: 9,
      arbitrary: fc.array(
        fc.record(
          {
            index: fc.constantFrom(0, 0, 0, 1, null),
            text,
            delta: said,
            finish_reason: reason,
            logprobs: fc.option(fc.record({ content: fc.option(fc.array(logprob, { maxLength: 2 })) })),
          },
          { requiredKeys: ['text'] },
        ),
        { maxLength: 2 },
      ),
    },
    { weight: 1, arbitrary: fc.constant(null) },
  ),
  usage,
});
const END = { choices: [{ index: 0, text: '', delta: {}, finish_reason: 'stop' }] };
/** What a server streams: pieces with every oddity that servers were seen with, and mostly an end. */
const frames = fc
  .tuple(fc.array(frame, { maxLength: 6 }), fc.constantFrom([END], [END], [END], []))
  .map((all) => all.flat());

const numbers = fc.constantFrom(0, -0, 1, 0.1, 1e-320, 1e308, -1e308, 5);
/** What a server answers of vectors: of any length, in any order, too many or too few. */
const vectors = fc.record({
  length: fc.constantFrom(0, 0, 0, 1, -1),
  vector: fc.array(numbers, { minLength: 1, maxLength: 8 }),
  isReversed: fc.boolean(),
  usage,
});

/** A server that answers each request by what the test drew. */
class Served implements AsyncDisposable {
  says: unknown = [END];
  readonly #server;

  private constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.on('data', (piece: Buffer) => (body += piece.toString()));
      request.on('end', () => response.end(this.#answer(request.url ?? '', body)));
    });
  }

  static async start(): Promise<Served> {
    const served = new Served();
    served.#server.listen(0, '127.0.0.1');
    await once(served.#server, 'listening');
    return served;
  }

  get model() {
    const { port } = this.#server.address() as AddressInfo;
    const tasks = ['completion', 'chat', 'embedding'];
    const where = { baseUrl: `http://127.0.0.1:${port}`, remoteModel: 'toy' };
    return { name: SERVED, pool: 'default', tasks, engine: 'openai', sha256: sha256Hex('served'), ...where };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(url: string, body: string): string {
    if (url === '/v1/models') return JSON.stringify({ data: [{ id: 'toy' }] });
    if (url !== '/v1/embeddings') {
      const all = Array.isArray(this.says) ? (this.says as unknown[]) : [END];
      return [...all.map((one) => JSON.stringify(one)), '[DONE]'].map((data) => `data: ${data}\n\n`).join('');
    }
    const { input } = JSON.parse(body) as { input: string[] };
    if (Array.isArray(this.says)) return JSON.stringify({ data: input.map((_, index) => ({ index, embedding: [1] })) });
    const {
      length,
      vector,
      isReversed,
      usage: told,
    } = this.says as { length: number; vector: number[]; isReversed: boolean; usage: unknown };
    const data = Array.from({ length: Math.max(0, input.length + length) }, (_, index) => ({
      index,
      embedding: vector,
    }));
    return JSON.stringify({ data: isReversed ? data.toReversed() : data, usage: told });
  }
}

import { randomInt } from 'node:crypto';
import type { Command } from 'commander';
import { Suspicions } from '../../core/confirmation/suspicions.ts';
import { runToEnd, type Engine, type Work } from '../../core/engines/engine.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { openRedis, whenReady } from '../../ground/redis/connection.ts';
import type { ApiClient } from './api-client.ts';
import { Output } from './output.ts';
import { SHARD, passwordOf, type DataFolder } from './set-up.ts';

const JOB_MS = 120_000;
const WAIT_S = 60;
const REDIS_READY_MS = 3_000;
/** Beginnings as people write them; each is gone on with by the model, so that no two questions are alike. */
const BEGINNINGS = ['Tell me about', 'In those days', 'And the people', 'What is', 'Behold, the', 'He went unto'];

interface Canary {
  readonly input: { readonly prompt: string };
  readonly work: Work;
  readonly known: string;
}

/**
 * `countersign canary`: asks jobs whose answers are known beforehand, as any tenant would. It finds workers that answer wrongly where
 * nothing else was promised, and an attestor that confirms what it did not check.
 */
export function addCanaryCommand(
  remote: (name: string, description: string) => Command,
  data: () => DataFolder,
  client: (options: { url?: string; keyFile?: string }) => ApiClient,
  redisUrl: (given: string | undefined) => string,
  number: (text: string) => number,
): void {
  remote('canary', 'ask jobs whose answers are known, as any tenant would, and compare; exit code 7 where one is wrong')
    .argument('<model>', 'model of the catalog whose engine repeats itself')
    .option('--catalog <file>', 'catalog; by default the one of the data folder')
    .option('--count <n>', 'jobs', number, 10)
    .option(
      '--redis-url <url>',
      'Redis, to count findings against workers; by default the private one of the data folder',
    )
    .action(
      async (
        name: string,
        options: { url?: string; keyFile?: string; catalog?: string; count: number; redisUrl?: string; json?: boolean },
      ) => {
        const model = readCatalog(options.catalog ?? data().catalog()).get(name);
        if (model === undefined) throw new CodedError('model_not_found', `The catalog has no model ${name}.`);
        const engine = await loadEngine(model);
        if (engine.repeatable !== 'exact' || !model.tasks.includes('completion'))
          throw new CodedError('task_not_supported', `${name} gives no answers that can be known beforehand.`);
        const api = client(options);
        const redis = openRedis(
          { url: redisUrl(options.redisUrl), user: 'attestor', password: passwordOf(data(), 'attestor') },
          'prompt',
          createLogger('canary', 'error'),
        );
        try {
          await whenReady(redis, REDIS_READY_MS);
          const suspicions = new Suspicions(redis, new RedisKeys(SHARD), createLogger('canary', 'error'));
          const found: { job: string; state: string; worker: string; right: boolean }[] = [];
          for (let at = 0; at < options.count; at += 1) {
            const canary = await draw(engine);
            const { max_tokens, temperature, seed } = canary.work.params;
            // Nothing is promised: where nobody looks is where a cheat would cheat.
            const body = {
              model: name,
              task: 'completion',
              input: canary.input,
              params: { max_tokens, temperature, seed },
              attestation: { recompute: 0 },
            };
            const job = await api.submit(body, { idempotencyKey: undefined, waitS: WAIT_S });
            const output = job.state === 'done' ? (await api.bytes(`/v1/jobs/${job.id}/output`)).toString('utf8') : '';
            const last = job.attempts.at(-1);
            const right = output === canary.known;
            found.push({ job: job.id, state: job.state, worker: last?.worker ?? '', right });
            if (job.state === 'done' && last !== undefined)
              await suspicions.record({
                job: job.id,
                epoch: last.epoch,
                worker: last.worker,
                model: name,
                isFlagged: !right,
              });
          }
          const wrong = found.filter(({ state, right }) => state === 'done' && !right);
          new Output(options.json === true).show({ canaries: found, wrong: wrong.length }, [
            `${name}  ${found.length} jobs, ${found.filter(({ right }) => right).length} right, ${wrong.length} confirmed and wrong`,
            ...wrong.map(({ job, worker }) => `  wrong  ${job}  ${worker}`),
          ]);
          if (wrong.length > 0)
            throw new CodedError(
              'canary_wrong',
              `${wrong.length} answers were confirmed and are wrong; keep their receipts.`,
            );
        } finally {
          redis.disconnect();
          await engine.close();
        }
      },
    );
}

/** A question that looks like any other, and its answer. */
async function draw(engine: Engine): Promise<Canary> {
  const seed = randomInt(2 ** 32);
  const work = (max: number, temperature: number): Work => ({
    task: 'completion',
    params: { max_tokens: max, temperature, top_p: 1, seed, stop: [] },
  });
  const beginning = BEGINNINGS[randomInt(BEGINNINGS.length)] ?? '';
  const said = await runToEnd(engine, work(8, 1), { prompt: beginning }, AbortSignal.timeout(JOB_MS));
  const input = { prompt: `${beginning}${OUTPUTS.completion.parse(JSON.parse(said.output)).text}` };
  const asked = work(16 + randomInt(48), randomInt(11) / 10);
  const { output } = await runToEnd(engine, asked, input, AbortSignal.timeout(JOB_MS));
  return { input, work: asked, known: output };
}

import { Suspicions } from '../../core/confirmation/suspicions.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import type { Engine } from '../../core/engines/engine.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { ApiClient } from './api-client.ts';
import { numberOf } from './arguments.ts';
import { drawCanary } from './canary.ts';
import type { RemoteOptions } from './caller-context.ts';
import type { CliContext } from './cli-context.ts';
import { Output } from './output.ts';
import { type DataFolder } from './data-folder.ts';

const WAIT_S = 60;

interface CanaryOptions extends RemoteOptions {
  readonly catalog?: string;
  readonly count: number;
  readonly redisUrl?: string;
}

interface CanaryResult {
  readonly job: string;
  readonly state: string;
  readonly worker: string;
  /** Whether the output is byte for byte the known one. */
  readonly right: boolean;
}

/**
 * `countersign canary`: submits jobs whose answers are known beforehand, as any tenant would. It finds
 * workers that answer wrongly although no confirmation was promised, and an attestor that confirms what it
 * did not check.
 */
export function addCanaryCommand(cli: CliContext): void {
  cli
    .remote(
      'canary',
      'submit jobs whose answers are known, as any tenant would, and compare; exit code 7 if one is wrong',
    )
    .argument('<model>', 'model of the catalog whose engine repeats itself')
    .option('--catalog <file>', 'catalog; by default the one of the data folder')
    .option('--count <n>', 'jobs', numberOf, 10)
    .option(
      '--redis-url <url>',
      'Redis, to count findings against workers; by default the private one of the data folder',
    )
    .action(async (name: string, options: CanaryOptions) => {
      const engine = await repeatableEngine(name, options.catalog, cli.data);
      try {
        const api = cli.client(options);
        await cli.withRedis('attestor', options.redisUrl, async (redis) => {
          const suspicions = new Suspicions(redis, new RedisKeys(cli.data.shard), createLogger('canary', 'error'));
          const found: CanaryResult[] = [];
          for (let at = 0; at < options.count; at += 1) found.push(await runCanary(name, engine, api, suspicions));
          report(name, found, new Output(options.json === true));
        });
      } finally {
        await engine.close();
      }
    });
}

/**
 * Throws CodedErrors `model_not_found`, and `task_not_supported` where answers cannot be known beforehand.
 */
async function repeatableEngine(name: string, catalog: string | undefined, data: DataFolder): Promise<Engine> {
  const model = readCatalog(catalog ?? data.catalog()).get(name);
  if (model === undefined) throw new CodedError('model_not_found', `The catalog has no model ${name}.`);
  const engine = await loadEngine(model);
  if (engine.repeatable !== 'exact' || !model.tasks.includes('completion'))
    throw new CodedError('task_not_supported', `Answers of ${name} cannot be known beforehand.`);
  return engine;
}

/** Submits one canary, compares its answer, and counts the finding for or against the worker. */
async function runCanary(model: string, engine: Engine, api: ApiClient, suspicions: Suspicions): Promise<CanaryResult> {
  const canary = await drawCanary(engine);
  const { max_tokens, temperature, seed } = canary.work.params;
  const body = {
    model,
    task: 'completion',
    input: canary.input,
    params: { max_tokens, temperature, seed },
    // No confirmation is promised: a cheat would cheat where no one checks.
    attestation: { recompute: 0 },
  };
  const job = await api.submit(body, { waitS: WAIT_S });
  const output = job.state === 'done' ? (await api.bytes(`/v1/jobs/${job.id}/output`)).toString('utf8') : '';
  const last = job.attempts.at(-1);
  const right = output === canary.known;
  if (job.state === 'done' && last !== undefined)
    await suspicions.record({ job: job.id, epoch: last.epoch, worker: last.worker, model, isFlagged: !right });
  return { job: job.id, state: job.state, worker: last?.worker ?? '', right };
}

/** Prints the results. Throws CodedError `canary_wrong` if an answer was confirmed and is wrong. */
function report(model: string, found: readonly CanaryResult[], out: Output): void {
  const wrong = found.filter(({ state, right }) => state === 'done' && !right);
  const right = found.filter((one) => one.right);
  out.show({ canaries: found, wrong: wrong.length }, [
    `${model}  ${found.length} jobs, ${right.length} right, ${wrong.length} confirmed and wrong`,
    ...wrong.map(({ job, worker }) => `  wrong  ${job}  ${worker}`),
  ]);
  if (wrong.length > 0)
    throw new CodedError('canary_wrong', `${wrong.length} answers were confirmed and are wrong; keep their receipts.`);
}

import type { Command } from 'commander';
import type { Redis } from 'ioredis';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { EnrolmentAsks, type EnrolmentAsk } from '../../core/leasing/enrolment-ask.store.ts';
import { openEnrolment } from '../../core/registry/enrolment.ts';
import { INVITATION_LABEL } from '../../core/registry/invitation.ts';
import { workerEntry } from '../../core/registry/worker-list.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { CliContext } from './cli-context.ts';
import type { DataFolder } from './data-folder.ts';
import { Output, jsonOption } from './output.ts';
import { readWorkerList, writeWorkerList } from './set-up.ts';

interface AskOptions {
  readonly redisUrl?: string;
  readonly json?: boolean;
}

/** An ask, and the pool whose gateway it came to. */
export interface PoolAsk extends EnrolmentAsk {
  readonly pool: string;
  readonly asks: EnrolmentAsks;
}

/** `countersign workers asks`, `approve` and `refuse`: who asks a gateway to be enrolled, and the answer. */
export function addAskCommands(cli: CliContext, workers: Command): void {
  const withAsks = (options: AskOptions, use: (all: readonly PoolAsk[]) => void | Promise<void>) =>
    cli.withRedis('attestor', options.redisUrl, async (redis) => use(await allAsks(cli.data, redis)));
  const redisOption = ['--redis-url <url>', 'Redis; by default the private one of the data folder'] as const;
  workers
    .command('asks')
    .description('show who asks a gateway to be enrolled')
    .option(...redisOption)
    .addOption(jsonOption())
    .action((options: AskOptions) =>
      withAsks(options, (all) => {
        const shown = all.map(({ worker, pool, facts }) => ({
          worker,
          pool,
          operator: facts.operator,
          gpu: facts.gpu,
          labels: facts.labels,
        }));
        new Output(options.json === true).show(
          { asks: shown },
          shown.map(({ worker, pool, operator, gpu }) => `${worker}  ${pool}  ${operator}  ${gpu ?? ''}`.trimEnd()),
        );
      }),
    );
  workers
    .command('approve')
    .description("put a worker that asks on the list; needs the registry's key")
    .argument('<id>')
    .option('--operator <name>', 'who runs it, where that is not who it says: quorums count operators')
    .option(...redisOption)
    .addOption(jsonOption())
    .action((id: string, options: AskOptions & { operator?: string }) =>
      withAsks(options, (all) => approve(cli, askOf(all, id), options)),
    );
  workers
    .command('refuse')
    .description('refuse a worker that asks, for good')
    .argument('<id>')
    .option('--why <text>', 'reason, which the worker is told', 'the operator of the pool does not want it')
    .option(...redisOption)
    .addOption(jsonOption())
    .action((id: string, options: AskOptions & { why: string }) =>
      withAsks(options, async (all) => {
        await askOf(all, id).asks.refuse(id, options.why.slice(0, 500));
        new Output(options.json === true).show({ worker: id, refused: options.why }, [`${id}  refused`]);
      }),
    );
}

/** Who asks any gateway of an installation. */
export async function allAsks(data: DataFolder, redis: Redis): Promise<PoolAsk[]> {
  const keys = new RedisKeys(data.shard);
  const found = readCatalog(data.catalog())
    .pools()
    .map(async (pool) => {
      const asks = new EnrolmentAsks(redis, keys, pool);
      return (await asks.all()).map((ask) => ({ ...ask, pool, asks }));
    });
  return (await Promise.all(found)).flat();
}

function askOf(all: readonly PoolAsk[], id: string): PoolAsk {
  const ask = all.find(({ worker }) => worker === id);
  if (ask === undefined)
    throw new CodedError('worker_not_found', `${id} does not ask to be enrolled.`, {
      hint: 'countersign workers asks lists those that do',
    });
  return ask;
}

/** The list first: a crash before the ask is gone leaves one that is decided already. */
async function approve(cli: CliContext, ask: PoolAsk, options: { operator?: string; json?: boolean }): Promise<void> {
  const { worker, pool, facts, request, asks } = ask;
  if (INVITATION_LABEL in facts.labels)
    throw new CodedError('enrolment_refused', `The label ${INVITATION_LABEL} is kept for workers that were invited.`);
  const list = readWorkerList(cli.data);
  const { key } = openEnrolment(request, () => undefined);
  const entry = {
    ...workerEntry(key, options.operator ?? facts.operator, new Date().toISOString(), [pool]),
    labels: facts.labels,
    gpu: facts.gpu,
  };
  const isListed = list.workers.some(({ id }) => id === worker);
  const { serial } = isListed ? list : writeWorkerList(cli.data, { ...list, workers: [...list.workers, entry] });
  await asks.forget(worker);
  new Output(options.json === true).show({ serial, worker: entry }, [`${worker}  enrolled in ${pool}, list ${serial}`]);
}

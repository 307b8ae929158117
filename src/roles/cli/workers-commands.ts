import type { Command } from 'commander';
import type { WorkerEntry } from '../../core/registry/worker-list.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { timeOf } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import { addAskCommands } from './ask-commands.ts';
import { addEnrolmentCommands } from './enrolment-commands.ts';
import { addInvitationCommands } from './invitation-commands.ts';
import { Output, jsonOption } from './output.ts';
import { type DataFolder } from './data-folder.ts';
import { readWorkerList, writeWorkerList } from './set-up.ts';

type Standing = WorkerEntry['standing'];

/** `countersign workers …`: the list of workers, for the holder of the registry's key. */
export function addWorkersCommands(cli: CliContext): void {
  const workers = cli.program.command('workers').description('enrol workers, suspend and revoke them');
  addEnrolmentCommands(cli, workers);
  addInvitationCommands(cli, workers);
  addAskCommands(cli, workers);
  addList(cli, workers);
  addSuspend(cli, workers);
  addResume(cli, workers);
  addRevoke(cli, workers);
  addRelease(cli, workers);
  addRenew(cli, workers);
}

function addList(cli: CliContext, workers: Command): void {
  workers
    .command('list')
    .description('show the list')
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => {
      const list = readWorkerList(cli.data);
      new Output(options.json === true).show(list, [
        `list ${list.serial}, until ${list.expires}`,
        ...list.workers.map(lineOf),
      ]);
    });
}

function lineOf({ id, operator, standing, notAfter, hardware }: WorkerEntry): string {
  const ending = notAfter === null ? '' : `, key until ${notAfter}`;
  const proven = hardware === null ? '' : `  ${hardware.properties.join(' ')}`;
  return `${id}  ${operator}  ${standing.state}${ending}${proven}`;
}

function addSuspend(cli: CliContext, workers: Command): void {
  workers
    .command('suspend')
    .description('ignore everything that this worker signs from now on, until it is resumed')
    .argument('<id>')
    .option('--why <text>', 'reason, for people', '')
    .addOption(jsonOption())
    .action((id: string, options: { why: string; json?: boolean }) =>
      changeStanding(cli.data, id, options, {
        state: 'suspended',
        from: new Date().toISOString(),
        why: options.why,
      }),
    );
}

function addResume(cli: CliContext, workers: Command): void {
  workers
    .command('resume')
    .description('end a suspension')
    .argument('<id>')
    .addOption(jsonOption())
    .action((id: string, options: { json?: boolean }) => changeStanding(cli.data, id, options, { state: 'active' }));
}

interface RevokeOptions {
  readonly from?: string;
  readonly compromisedSince?: string;
  readonly why: string;
  readonly json?: boolean;
}

function addRevoke(cli: CliContext, workers: Command): void {
  workers
    .command('revoke')
    .description('ignore everything that this worker signs, for good')
    .argument('<id>')
    .option('--from <time>', 'when the revocation begins; by default now', timeOf)
    .option('--compromised-since <time>', 'ignore what it signed from then on, too', timeOf)
    .option('--why <text>', 'reason, for people', '')
    .addOption(jsonOption())
    .action((id: string, options: RevokeOptions) =>
      changeStanding(cli.data, id, options, {
        state: 'revoked',
        from: options.from ?? new Date().toISOString(),
        compromisedSince: options.compromisedSince ?? null,
        why: options.why,
      }),
    );
}

/** Writes a list in which this worker has another standing. A revocation is final. */
function changeStanding(data: DataFolder, id: string, options: { json?: boolean }, standing: Standing): void {
  const list = readWorkerList(data);
  const entry = list.workers.find((worker) => worker.id === id);
  if (entry === undefined) throw new CodedError('worker_not_found', `The list has no worker ${id}.`);
  if (entry.standing.state === 'revoked')
    throw new CodedError('request_invalid', `${id} is revoked, and that is for good; enrol a new key.`);
  const changed = { ...entry, standing };
  const next = writeWorkerList(data, {
    ...list,
    workers: list.workers.map((worker) => (worker.id === id ? changed : worker)),
  });
  new Output(options.json === true).show({ serial: next.serial, worker: changed }, [
    `${id}  ${changed.standing.state}, list ${next.serial}`,
  ]);
}

function addRelease(cli: CliContext, workers: Command): void {
  workers
    .command('release')
    .description('let a worker out of quarantine, with a clean score')
    .argument('<id>')
    .option('--redis-url <url>', 'Redis; by default the private one of the data folder')
    .addOption(jsonOption())
    .action(async (id: string, options: { redisUrl?: string; json?: boolean }) => {
      await cli.withRedis('attestor', options.redisUrl, async (redis) => {
        const keys = new RedisKeys(cli.data.shard);
        const scores = await redis.hgetall(keys.suspicion);
        const own = Object.keys(scores).filter((field) => field.startsWith(`${id} `));
        if (own.length > 0) await redis.hdel(keys.suspicion, ...own);
        if ((await redis.srem(keys.quarantined, id)) === 0)
          throw new CodedError('worker_not_found', `${id} is not in quarantine.`);
      });
      new Output(options.json === true).show({ worker: id, quarantined: false }, [`${id}  out of quarantine`]);
    });
}

function addRenew(cli: CliContext, workers: Command): void {
  workers
    .command('renew')
    .description('sign the list again, for another year')
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => {
      const { serial, expires } = writeWorkerList(cli.data, readWorkerList(cli.data));
      new Output(options.json === true).show({ serial, expires }, [`list ${serial}, until ${expires}`]);
    });
}

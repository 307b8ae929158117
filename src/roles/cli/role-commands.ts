import type { Command } from 'commander';
import { runWorkersPerGpu } from './workers-per-gpu.ts';
import { addEnrolAtGateway } from './gateway-enrolment-command.ts';
import type { CliContext } from './cli-context.ts';

const ROLES = ['api', 'worker', 'gateway', 'attestor', 'courier'] as const;

/** `countersign api`, `worker`, `gateway`, `attestor` and `courier`: one process of a role. */
export function addRoleCommands({ program }: CliContext): void {
  for (const role of ROLES) {
    const command = program
      .command(role)
      .description(`run one ${role}, configured by COUNTERSIGN_ variables (see docs/configuration.md)`)
      .action(async ({ gateway, models, resident, drainOn, perGpu }: WorkerOptions) => {
        if (gateway !== undefined) process.env['COUNTERSIGN_GATEWAY_URL'] = gateway;
        if (models !== undefined) process.env['COUNTERSIGN_MODELS'] = models;
        if (resident !== undefined) process.env['COUNTERSIGN_RESIDENT'] = resident;
        if (drainOn !== undefined) process.env['COUNTERSIGN_DRAIN_ON'] = drainOn;
        if (perGpu === true) process.exit(await runWorkersPerGpu((line) => process.stderr.write(`${line}\n`)));
        await become(role);
      });
    if (role === 'worker') addWorkerOptions(command);
  }
}

interface WorkerOptions {
  readonly gateway?: string;
  readonly models?: string;
  readonly resident?: string;
  readonly drainOn?: string;
  readonly perGpu?: boolean;
}

function addWorkerOptions(worker: Command): void {
  worker
    .option('--gateway <url>', 'reach the pool through this gateway, without a login of Redis')
    .option('--models <names>', 'serve these models, comma-separated; by default all of the pool')
    .option('--resident <count>', 'hold so many of them in memory at once, and load the others in their turn')
    .option('--drain-on <signal>', 'let running jobs end at this signal, however long they take (SIGTERM)')
    .option('--per-gpu', 'run one worker for each GPU and MIG slice, each with its own key (docs/gpus.md)');
  addEnrolAtGateway(worker);
}

/** `countersign memory serve`: the process of the memory, where no courier hosts it. */
export function addMemoryRole(memory: Command): void {
  memory
    .command('serve')
    .description('run the memory itself, configured by COUNTERSIGN_ variables (see docs/configuration.md)')
    .action(() => become('memory'));
}

/** Each role is a program of its own; this process becomes it. */
async function become(role: string): Promise<void> {
  await import(new URL(`../${role}/main.js`, import.meta.url).href);
}

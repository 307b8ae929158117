import type { Command } from 'commander';
import type { CliContext } from './cli-context.ts';

const ROLES = ['api', 'worker', 'attestor', 'courier'] as const;

/** `countersign api`, `worker`, `attestor` and `courier`: one process of a role. */
export function addRoleCommands({ program }: CliContext): void {
  for (const role of ROLES) {
    program
      .command(role)
      .description(`run one ${role}, configured by COUNTERSIGN_ variables (see docs/configuration.md)`)
      .action(() => become(role));
  }
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

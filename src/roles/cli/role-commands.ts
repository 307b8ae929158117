import type { CliContext } from './cli-context.ts';

const ROLES = ['api', 'worker', 'attestor', 'courier'] as const;

/** `countersign api`, `worker`, `attestor` and `courier`: one process of a role. */
export function addRoleCommands({ program }: CliContext): void {
  for (const role of ROLES) {
    program
      .command(role)
      .description(`run one ${role}, configured by COUNTERSIGN_ variables (see docs/configuration.md)`)
      .action(async () => {
        // Each role is a program of its own; this process becomes it.
        await import(new URL(`../${role}/main.js`, import.meta.url).href);
      });
  }
}

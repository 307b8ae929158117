import type { Command } from 'commander';
import { addEnrolAtGateway } from './gateway-enrolment-command.ts';
import type { CliContext } from './cli-context.ts';

const ROLES = ['api', 'worker', 'gateway', 'attestor', 'courier'] as const;

/** `countersign api`, `worker`, `gateway`, `attestor` and `courier`: one process of a role. */
export function addRoleCommands({ program }: CliContext): void {
  for (const role of ROLES) {
    const command = program
      .command(role)
      .description(`run one ${role}, configured by COUNTERSIGN_ variables (see docs/configuration.md)`)
      .action(async ({ gateway }: { gateway?: string }) => {
        if (gateway !== undefined) process.env['COUNTERSIGN_GATEWAY_URL'] = gateway;
        // Each role is a program of its own; this process becomes it.
        await import(new URL(`../${role}/main.js`, import.meta.url).href);
      });
    if (role === 'worker') addGatewayOption(command);
  }
}

function addGatewayOption(worker: Command): void {
  worker.option('--gateway <url>', 'reach the pool through this gateway, without a login of Redis');
  addEnrolAtGateway(worker);
}

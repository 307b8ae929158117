#!/usr/bin/env node
import 'reflect-metadata';
import { Command } from 'commander';
import { addAclCommand } from './acl-command.ts';
import { addCalibrateCommand } from './calibrate-command.ts';
import { addCanaryCommand } from './canary-command.ts';
import { CliContext } from './cli-context.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { addInitCommand } from './init-command.ts';
import { addJobCommands } from './job-commands.ts';
import { addKeysCommands } from './keys-commands.ts';
import { addLedgerCommands } from './ledger-commands.ts';
import { addLogCommands } from './log-commands.ts';
import { endWithReader, reportError } from './output.ts';
import { addPoolsCommands } from './pools-commands.ts';
import { addRoleCommands } from './role-commands.ts';
import { addSubmitCommand } from './submit-command.ts';
import { addTenantsCommands } from './tenants-commands.ts';
import { addUpCommand } from './up-command.ts';
import { addUsageCommand } from './usage-command.ts';
import { addVerifyCommand } from './verify-command.ts';
import { addWitnessCommand } from './witness-command.ts';
import { addWorkersCommands } from './workers-commands.ts';

const program = new Command('countersign')
  .description('Inference jobs that are done only when a separate attestor has confirmed them.')
  .version('0.1.0')
  .option('--data <folder>', 'data folder (COUNTERSIGN_DATA)', process.env['COUNTERSIGN_DATA'] ?? '.countersign')
  .option('--verbose', 'say on standard error what was used of the environment and of the data folder')
  // Commands added below inherit this: errors are thrown to the end of this file, and printed alike.
  .exitOverride()
  .configureOutput({ outputError: () => undefined });

for (const stream of [process.stdout, process.stderr]) stream.on('error', endWithReader);

// Help lists the commands in this order.
const cli = new CliContext(program);
addUpCommand(cli);
addInitCommand(cli);
addRoleCommands(cli);
addSubmitCommand(cli);
addJobCommands(cli);
addVerifyCommand(cli);
addKeysCommands(cli);
addLogCommands(cli);
addCalibrateCommand(cli);
addCanaryCommand(cli);
addWorkersCommands(cli);
addPoolsCommands(cli);
addWitnessCommand(cli);
addTenantsCommands(cli);
addUsageCommand(cli);
addLedgerCommands(cli);
addAclCommand(cli);
addDoctorCommand(cli);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportError(error, { json: process.argv.includes('--json') });
} finally {
  cli.sayWhatWasTaken();
}

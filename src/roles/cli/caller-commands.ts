import { CodedError } from '../../ground/errors/coded-error.ts';
import { addAuditEndpointCommands } from './audit-endpoint-command.ts';
import { CallerContext } from './caller-context.ts';
import { addCompletionCommand } from './completion-command.ts';
import { addEvidenceCommands } from './evidence-commands.ts';
import { addJobCommands } from './job-commands.ts';
import { addMcpCommand } from './mcp-command.ts';
import { addMemoryBundleCommands } from './memory-bundle-commands.ts';
import { addMemoryCarryCommands } from './memory-carry-commands.ts';
import { addMemoryCommands } from './memory-commands.ts';
import { newProgram, runProgram } from './program.ts';
import { addLoginLinkCommand } from './login-link-command.ts';
import { addProxyCommand } from './proxy-command.ts';
import { addSchedulesCommands } from './schedules-commands.ts';
import { addSubmitCommand } from './submit-command.ts';
import { addTopCommand } from './top-command.ts';
import { addUsageCommand } from './usage-command.ts';
import { addVerifyCommand } from './verify-command.ts';

/** The commands that run, set up or administer a service. */
const OF_THE_SERVICE = [
  ...[
    'up',
    'init',
    'setup',
    'api',
    'courier',
    'worker',
    'gateway',
    'attestor',
    'keys',
    'log',
    'calibrate',
    'canary',
    'workers',
    'pools',
    'reload',
  ],
  ...['witness', 'tenants', 'ledger', 'acl', 'doctor'],
];

/**
 * The program with the commands of whoever calls a service or verifies what it answered.
 * `scripts/bundle-callers.mjs` makes one file of it that needs Node.js and nothing else, so that neither the
 * service nor its machine code is installed for them. Help lists the commands in this order.
 */
const cli = new CallerContext(newProgram());
addVerifyCommand(cli);
addEvidenceCommands(cli);
addProxyCommand(cli);
addAuditEndpointCommands(cli);
addSubmitCommand(cli);
addJobCommands(cli);
addSchedulesCommands(cli);
const memory = addMemoryCommands(cli);
addMemoryCarryCommands(cli, memory);
addMemoryBundleCommands(cli, memory);
addMcpCommand(cli);
addUsageCommand(cli);
addLoginLinkCommand(cli);
addTopCommand(cli);
addCompletionCommand(cli);
for (const name of OF_THE_SERVICE)
  cli.program
    .command(name, { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(() => {
      throw new CodedError('service_not_installed', `countersign ${name} is part of the service.`, {
        hint: 'the package brings what callers need; a clone of the repository, or an image made from it, runs a service',
      });
    });
cli.program.addHelpText(
  'after',
  `\nNot installed here, since they are parts of a service: ${OF_THE_SERVICE.join(', ')}.`,
);
await runProgram(cli);

import { Argument } from 'commander';
import { SHELLS, completionScript, type Shell } from './completion.ts';
import type { Program } from './program.ts';

/** `countersign completion`: what a shell needs to complete the words of this program. */
export function addCompletionCommand(cli: Program): void {
  cli.program
    .command('completion')
    .description('print a script by which a shell completes commands and options')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText('after', '\nFor bash: eval "$(countersign completion bash)", in ~/.bashrc.')
    .action((shell: Shell) => {
      process.stdout.write(completionScript(cli.program, shell));
    });
}

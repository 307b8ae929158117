import { Command } from 'commander';
import type { DataFolder } from './data-folder.ts';
import { endWithReader, reportError } from './output.ts';

/** The program without its commands. */
export function newProgram(): Command {
  return (
    new Command('countersign')
      .description('Inference jobs that are done only when a separate attestor has confirmed them.')
      .version('0.1.0')
      .option('--data <folder>', 'data folder (COUNTERSIGN_DATA)', process.env['COUNTERSIGN_DATA'] ?? '.countersign')
      .option('--verbose', 'say on standard error what was used of the environment and of the data folder')
      // Commands inherit this: errors are thrown to `runProgram`, and printed alike.
      .exitOverride()
      .configureOutput({ outputError: () => undefined })
  );
}

/** A program, and the installation that its commands look at. */
export interface Program {
  readonly program: Command;
  readonly data: DataFolder;
}

/**
 * Runs the command of this process, and sets its exit code. With `--verbose`, one line for people then says
 * what was used of the environment and of the data folder.
 */
export async function runProgram(cli: Program): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', endWithReader);
  try {
    await cli.program.parseAsync();
  } catch (error) {
    process.exitCode = reportError(error, { json: process.argv.includes('--json') });
  }
  if (cli.program.opts()['verbose'] !== true) return;
  const used = cli.data.taken.map(({ what, from }) => `${what} (${from})`).join(', ');
  process.stderr.write(`used: ${used === '' ? 'nothing of an installation' : used}\n`);
}

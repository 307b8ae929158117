import type { CliContext } from './cli-context.ts';
import { numberOf } from './arguments.ts';
import { Output, jsonOption } from './output.ts';
import { up } from './up.ts';

/** `countersign up`: a whole installation on this machine, for a first try and for development. */
export function addUpCommand(cli: CliContext): void {
  const port = process.env['COUNTERSIGN_PORT'];
  cli.program
    .command('up')
    .description(
      'start Redis, api, workers, attestor and courier here, run one job, verify its receipt, and stay until Ctrl-C',
    )
    .option('--once', 'stop after the verified job')
    .option('--workers <n>', 'worker processes', numberOf, 2)
    .option(
      '--port <port>',
      'port of the API (COUNTERSIGN_PORT)',
      numberOf,
      port === undefined ? undefined : Number(port),
    )
    .addOption(jsonOption())
    .action(async (options: { once?: boolean; workers: number; port?: number; json?: boolean }) => {
      await up(
        cli.ownFolder,
        { once: options.once === true, workers: Math.max(1, Math.floor(options.workers)), port: options.port },
        new Output(options.json === true),
      );
      // Everything is stopped. Idle connections of the HTTP client would keep the process alive for seconds.
      process.exit();
    });
}

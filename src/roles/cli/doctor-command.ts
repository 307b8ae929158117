import type { CliContext } from './cli-context.ts';
import { examine, type Finding } from './doctor.ts';
import { Output, jsonOption } from './output.ts';

/** `countersign doctor`: everything that is wrong with an installation. Exit code 1 if anything is. */
export function addDoctorCommand(cli: CliContext): void {
  cli.program
    .command('doctor')
    .description('say what is wrong with this set-up')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: { redisUrl?: string; json?: boolean }) => {
      const findings = await examine(cli.data, cli.data.redisUrl(options.redisUrl));
      const ok = findings.every((finding) => finding.ok);
      new Output(options.json === true).show({ ok, findings }, findings.map(lineOf));
      if (!ok) process.exitCode = 1;
    });
}

function lineOf({ what, ok, found, advice }: Finding): string {
  return `${ok ? 'ok  ' : 'BAD '} ${what}: ${found}${ok || advice === undefined ? '' : `\n     ${advice}`}`;
}

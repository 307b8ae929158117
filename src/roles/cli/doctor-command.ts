import type { RemoteOptions } from './caller-context.ts';
import type { CliContext } from './cli-context.ts';
import { examineAll } from './doctor-all.ts';
import { examine } from './doctor.ts';
import type { Finding } from './finding.ts';
import { Output } from './output.ts';

interface DoctorOptions extends RemoteOptions {
  readonly redisUrl?: string;
  readonly all?: boolean;
}

/** `countersign doctor`: everything that is wrong with this machine. Exit code 1 if anything is. */
export function addDoctorCommand(cli: CliContext): void {
  cli
    .remote('doctor', 'say what is wrong with this machine, by the environment of its role or the data folder')
    .option('--all', 'ask the API as well: who is there, and whether a job for each model would be done')
    .option('--redis-url <url>', 'Redis address')
    .action(async (options: DoctorOptions) => {
      const { data } = cli;
      const own = await examine(data, process.env, data.redisUrl(options.redisUrl));
      const findings = options.all === true ? [...own, ...(await all(cli, options))] : own;
      const ok = findings.every((finding) => finding.ok);
      new Output(options.json === true).show({ ok, findings }, findings.map(lineOf));
      if (!ok) process.exitCode = 1;
    });
}

async function all(cli: CliContext, options: DoctorOptions): Promise<Finding[]> {
  return examineAll(cli.client(options), cli.data);
}

function lineOf({ what, ok, found, advice }: Finding): string {
  return `${ok ? 'ok  ' : 'BAD '} ${what}: ${found}${ok || advice === undefined ? '' : `\n     ${advice}`}`;
}

import { readFileSync } from 'node:fs';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ensureSigningKey } from '../../ground/keys/key-file.ts';
import { LogRefused, formatVkey, noteKey, type NoteKey } from '../../proof/tlog/signed-note.ts';
import { parseLogs } from '../../proof/tlog/tlog-policy.ts';
import { Witness } from '../../proof/tlog/witness.ts';
import type { CliContext } from './cli-context.ts';
import { serveWitness } from './witness-server.ts';

interface WitnessOptions {
  readonly name: string;
  readonly key: string;
  readonly policy: string;
  readonly folder: string;
  readonly host: string;
  readonly port: string;
}

/** `countersign witness`: for people who do not run the log, on a machine of their own. */
export function addWitnessCommand({ program }: CliContext): void {
  program
    .command('witness')
    .description("cosign the checkpoints of another operator's log, as long as each one extends the last")
    .requiredOption('--name <name>', 'the name to sign with, for example witness.example.org')
    .requiredOption('--key <file>', 'file with the signing key; it is made if there is none')
    .requiredOption('--policy <file>', 'the logs to watch: a C2SP tlog-policy, of which the log lines alone are needed')
    .requiredOption('--folder <folder>', 'where the witness keeps what it has signed; never lose it')
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 for any free one', '8182')
    .action(async (options: WitnessOptions) => {
      const key = ensureSigningKey(options.key);
      const own = noteKey(options.name, 'cosignature/v1', key.public);
      const logs = watchedLogs(options.policy);
      const witness = new Witness({ name: options.name, key, logs, folder: options.folder });
      const { url, closed } = await serveWitness(witness, options.host, Number(options.port));
      process.stdout.write(`witness ${options.name} ${formatVkey(own)} ${url}\n`);
      await closed;
    });
}

/** Throws CodedError `config_invalid` with the line at fault. */
function watchedLogs(file: string): NoteKey[] {
  try {
    return parseLogs(readFileSync(file, 'utf8')).map(({ key }) => key);
  } catch (cause) {
    if (!(cause instanceof LogRefused)) throw cause;
    throw new CodedError('config_invalid', `${file}: ${cause.message}`, {
      cause,
      hint: 'a line is: log VKEY; the operator of a log prints it with countersign keys show FILE --log ORIGIN',
    });
  }
}

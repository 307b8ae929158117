import { readFileSync } from 'node:fs';
import { ensureSigningKey } from '../../ground/keys/key-file.ts';
import { formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { parsePolicy } from '../../proof/tlog/tlog-policy.ts';
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
    .requiredOption('--policy <file>', 'the logs to watch: the log lines of a C2SP tlog-policy')
    .requiredOption('--folder <folder>', 'where the witness keeps what it has signed; never lose it')
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 for any free one', '8182')
    .action(async (options: WitnessOptions) => {
      const key = ensureSigningKey(options.key);
      const own = noteKey(options.name, 'cosignature/v1', key.public);
      const logs = parsePolicy(readFileSync(options.policy, 'utf8')).logs.map((log) => log.key);
      const witness = new Witness({ name: options.name, key, logs, folder: options.folder });
      const { url, closed } = await serveWitness(witness, options.host, Number(options.port));
      process.stdout.write(`witness ${options.name} ${formatVkey(own)} ${url}\n`);
      await closed;
    });
}

import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readSigningKey, writeSecretFile } from '../../ground/keys/key-file.ts';
import { generateSigningKeyPem, signingKeyFromPem, workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import { formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { addApiKeyCommands } from './api-key-commands.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { addRedisPasswordCommands } from './redis-password-commands.ts';
import { addResealCommand } from './reseal-command.ts';

/** `countersign keys …`: signing keys in files, API keys in Redis, and the passwords of its users. */
export function addKeysCommands(cli: CliContext): void {
  const keys = cli.program.command('keys').description('signing keys, API keys and passwords of Redis users');
  keys
    .command('new')
    .description('make a signing key; prints its public half')
    .argument('<file>', 'file to write, readable by its owner only')
    .addOption(jsonOption())
    .action((file: string, options: { json?: boolean }) => {
      const pem = generateSigningKeyPem();
      try {
        writeSecretFile(file, pem);
      } catch (cause) {
        throw new CodedError('key_file_unfit', `${file} cannot be written: ${messageOf(cause)}.`, { cause });
      }
      showKey(signingKeyFromPem(pem).public, new Output(options.json === true));
    });
  keys
    .command('show')
    .description('print the public half of a signing key')
    .argument('<file>', 'key file')
    .option('--log <origin>', 'print the line that the policy of this log needs for the key, and nothing else')
    .addOption(jsonOption())
    .action((file: string, options: { log?: string; json?: boolean }) => {
      const { public: key } = readSigningKey(file);
      const out = new Output(options.json === true);
      if (options.log === undefined) {
        showKey(key, out);
        return;
      }
      const line = `log ${formatVkey(noteKey(options.log, 'ed25519', key))}`;
      out.show({ line }, [line]);
    });
  addResealCommand(cli, keys);
  addApiKeyCommands(cli, keys);
  addRedisPasswordCommands(cli, keys);
}

function showKey(key: PublicKey, out: Output): void {
  const facts = { id: key.id, publicKey: key.raw, workerId: workerIdOf(key) };
  out.show(facts, [
    `id          ${facts.id}`,
    `public key  ${facts.publicKey}`,
    `as worker   {"id":"${facts.workerId}","publicKey":"${facts.publicKey}"}`,
  ]);
}

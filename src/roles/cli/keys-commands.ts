import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readSigningKey, writeSecretFile } from '../../ground/keys/key-file.ts';
import { generateSigningKeyPem, signingKeyFromPem, workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import { addApiKeyCommands } from './api-key-commands.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { addRedisPasswordCommands } from './redis-password-commands.ts';

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
    .addOption(jsonOption())
    .action((file: string, options: { json?: boolean }) =>
      showKey(readSigningKey(file).public, new Output(options.json === true)),
    );
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

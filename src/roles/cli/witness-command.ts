import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { ensureSigningKey } from '../../ground/keys/key-file.ts';
import { MAX_NOTE_BYTES, formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { parsePolicy } from '../../proof/tlog/tlog-policy.ts';
import { Witness } from '../../proof/tlog/witness.ts';

const REQUEST_MS = 10_000;

interface WitnessOptions {
  readonly name: string;
  readonly key: string;
  readonly policy: string;
  readonly folder: string;
  readonly host: string;
  readonly port: string;
}

/** `countersign witness`: for people who don't run the log, on a machine of theirs. */
export function addWitnessCommand(program: Command): void {
  program
    .command('witness')
    .description('cosign the checkpoints of a log that somebody else runs, as long as each goes on from the last')
    .requiredOption('--name <name>', 'the name to sign with, for example witness.example.org')
    .requiredOption('--key <file>', 'file with the signing key, made where there is none')
    .requiredOption('--policy <file>', 'the logs to watch: the log lines of a C2SP tlog-policy')
    .requiredOption('--folder <folder>', 'where it keeps what it has signed; never lose it')
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 for any free one', '8182')
    .action(async (options: WitnessOptions) => {
      const key = ensureSigningKey(options.key);
      const own = noteKey(options.name, 'cosignature/v1', key.public);
      const logs = parsePolicy(readFileSync(options.policy, 'utf8')).logs.map((log) => log.key);
      const witness = new Witness({ name: options.name, key, logs, folder: options.folder });
      const { url, closed } = await serve(witness, options.host, Number(options.port));
      process.stdout.write(`witness ${options.name} ${formatVkey(own)} ${url}\n`);
      await closed;
    });
}

/** `POST /add-checkpoint` and nothing else, until SIGINT or SIGTERM. */
async function serve(witness: Witness, host: string, port: number): Promise<{ url: string; closed: Promise<void> }> {
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    const answer = (status: number, text: string) =>
      response
        .writeHead(status, { 'content-type': status === 409 ? 'text/x.tlog.size' : 'text/plain; charset=utf-8' })
        .end(text);
    if (request.method !== 'POST' || request.url !== '/add-checkpoint') {
      answer(404, 'a witness answers POST /add-checkpoint\n');
      return;
    }
    const pieces: Buffer[] = [];
    let length = 0;
    request.on('data', (piece: Buffer) => {
      length += piece.length;
      if (length <= MAX_NOTE_BYTES) pieces.push(piece);
    });
    request.on('end', () => {
      if (length > MAX_NOTE_BYTES) {
        answer(413, 'too long\n');
        return;
      }
      witness.addCheckpoint(Buffer.concat(pieces).toString('utf8')).then(
        ({ status, body }) => answer(status, body),
        (error: unknown) => {
          process.stderr.write(`error: ${messageOf(error)}\n`);
          answer(500, 'the witness cannot keep what it signs\n');
        },
      );
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        systemCodeOf(cause) === 'EADDRINUSE'
          ? new CodedError('port_taken', `Port ${port} is taken; choose another with --port.`, { cause })
          : cause,
      ),
    );
    server.listen(port, host, resolve);
  });
  const closed = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
  });
  const address = server.address();
  return { url: `http://${host}:${typeof address === 'object' && address !== null ? address.port : port}`, closed };
}

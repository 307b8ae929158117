import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { MAX_NOTE_BYTES } from '../../proof/tlog/signed-note.ts';
import type { Witness } from '../../proof/tlog/witness.ts';

const REQUEST_MS = 10_000;

/**
 * Serves `POST /add-checkpoint` (C2SP tlog-witness) and nothing else. `closed` resolves after SIGINT or
 * SIGTERM. Throws CodedError `port_taken`.
 */
export async function serveWitness(
  witness: Witness,
  host: string,
  port: number,
): Promise<{ url: string; closed: Promise<void> }> {
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    if (request.method === 'POST' && request.url === '/add-checkpoint') receive(witness, request, response);
    else reply(response, 404, 'a witness answers POST /add-checkpoint\n');
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
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  return { url: `http://${host}:${bound}`, closed: untilSignal(server) };
}

function receive(witness: Witness, request: IncomingMessage, response: ServerResponse): void {
  const pieces: Buffer[] = [];
  let length = 0;
  request.on('data', (piece: Buffer) => {
    length += piece.length;
    if (length <= MAX_NOTE_BYTES) pieces.push(piece);
  });
  request.on('end', () => {
    if (length > MAX_NOTE_BYTES) {
      reply(response, 413, 'too long\n');
      return;
    }
    witness.addCheckpoint(Buffer.concat(pieces).toString('utf8')).then(
      ({ status, body }) => reply(response, status, body),
      (error: unknown) => {
        process.stderr.write(`error: ${messageOf(error)}\n`);
        reply(response, 500, 'the witness cannot keep what it signs\n');
      },
    );
  });
}

function reply(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': status === 409 ? 'text/x.tlog.size' : 'text/plain; charset=utf-8' })
    .end(text);
}

function untilSignal(server: Server): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
  });
}

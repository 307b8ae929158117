import { Server as TlsServer } from 'node:tls';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';

/** Where a server listens; port 0 is any free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * Begins to listen, and returns the URL. Throws CodedError `port_taken` where another program listens there;
 * the application is closed then.
 */
export async function listenAt(app: NestFastifyApplication, { host, port }: Address): Promise<string> {
  try {
    await app.listen(port, host);
  } catch (cause) {
    await app.close();
    throw whyNotListening(host, port, cause);
  }
  const { server } = app.getHttpAdapter().getInstance();
  const address = server.address();
  const taken = typeof address === 'object' && address !== null ? address.port : port;
  return `${server instanceof TlsServer ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${taken}`;
}

function whyNotListening(host: string, port: number, cause: unknown): CodedError {
  if (systemCodeOf(cause) === 'EADDRINUSE')
    return new CodedError('port_taken', `Another program listens on ${host}:${port}.`, {
      cause,
      hint: 'choose another port with COUNTERSIGN_PORT',
    });
  return new CodedError('start_failed', `Cannot listen on ${host}:${port}: ${messageOf(cause)}.`, { cause });
}

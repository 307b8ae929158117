import { X509Certificate } from 'node:crypto';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { readAuthorities, readTlsPair, type TlsPair } from '../../ground/keys/tls-files.ts';

/** A request as it goes out. */
interface Outgoing {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal: AbortSignal;
}

/** Sends a request to an address. Rejects where nobody answers, as `fetch` does. */
export type Send = (url: string, outgoing: Outgoing) => Promise<Response>;

/** The files of the connection to a gateway. */
interface DoorFiles {
  readonly url: string;
  /** The certificate that is shown where the gateway asks for one, and its key. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** The only authorities that are trusted; without them, those that Node.js trusts. */
  readonly caFile?: string | undefined;
}

/** How this gateway is asked. Throws CodedError `config_invalid` or `key_file_unfit`. */
export function doorOf({ url, certFile, keyFile, caFile }: DoorFiles): Send {
  if (certFile === undefined && keyFile === undefined && caFile === undefined) return fetch;
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new CodedError('config_invalid', 'A certificate goes with the file of its key: give both, or none.');
  if (!url.startsWith('https:'))
    throw new CodedError('config_invalid', `Certificates are for a gateway with https, and ${url} is not one.`);
  return sendWith({
    own: certFile === undefined || keyFile === undefined ? undefined : readTlsPair(certFile, keyFile),
    authorities: caFile === undefined ? undefined : readAuthorities(caFile),
  });
}

interface DoorTls {
  readonly own: TlsPair | undefined;
  readonly authorities: readonly string[] | undefined;
}

/**
 * Sends over connections that show a certificate, or trust other authorities than the rest of the process:
 * `fetch` itself can do neither. It follows no redirection.
 */
function sendWith({ own, authorities }: DoorTls): Send {
  const agent = new Agent({
    keepAlive: true,
    minVersion: 'TLSv1.2',
    ...own,
    ...(authorities === undefined ? {} : { ca: [...authorities] }),
  });
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const sent = request(url, { agent, method, signal, headers: { ...headers, ...length } }, (answer) =>
        resolve(responseOf(answer)),
      );
      // Also what fails when the answer has begun: whoever reads it hears of that there.
      sent.on('error', (error) => reject(own === undefined ? error : withCertificate(error, own)));
      sent.end(body);
    });
}

/** A server that does not take a certificate just hangs up: what was shown says why. */
function withCertificate(error: Error, { cert }: TlsPair): Error {
  if (systemCodeOf(error) !== 'ECONNRESET') return error;
  const { subject, validFrom, validTo } = new X509Certificate(cert);
  const shown = `${subject.replaceAll('\n', ', ')}, from ${validFrom} to ${validTo}`;
  return new Error(`${error.message}, as it does where it does not take the certificate shown (${shown})`);
}

function responseOf(answer: IncomingMessage): Response {
  const { statusCode: status = 500, headersDistinct } = answer;
  const headers = Object.entries(headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const isEmpty = status === 204 || status === 304;
  if (isEmpty) answer.resume();
  return new Response(isEmpty ? null : Readable.toWeb(answer), { status, headers });
}

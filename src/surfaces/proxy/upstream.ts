import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { z } from 'zod';
import { ERROR_CATALOG, type ErrorCode } from '../../ground/errors/catalog.ts';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { Unverified } from './unverified.ts';

const MAX_HEADER_BYTES = 65_536;
const MAX_REFUSAL_BYTES = 65_536;
const MAX_SOCKETS = 256;

/** A request to the service. */
export interface Sent {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body?: string;
}

/** What of the headers of a refusal is the caller's to know. */
const PASSED_HEADERS = [
  'retry-after',
  'x-should-retry',
  'x-request-id',
  'allow',
  'ratelimit',
  'ratelimit-policy',
] as const;

const Refusal = z.object({ error: z.looseObject({ message: z.string(), code: z.string().nullish() }) });

/** An error that the service answered, to be passed on as it is. */
export class UpstreamRefusal extends CodedError {
  override readonly name = 'UpstreamRefusal';
  readonly passed: { readonly status: number; readonly body: string | undefined };

  constructor(status: number, headers: IncomingHttpHeaders, body: Buffer | undefined) {
    const said = readRefusal(body);
    super(codeOf(said?.error.code), said?.error.message.slice(0, 2_000) ?? `The service answered ${status}.`, {
      headers: passedHeaders(headers),
    });
    this.passed = { status: status >= 400 ? status : 502, body: said && body?.toString('utf8') };
  }
}

function readRefusal(body: Buffer | undefined): z.infer<typeof Refusal> | undefined {
  try {
    return Refusal.parse(JSON.parse(body?.toString('utf8') ?? ''));
  } catch {
    return undefined;
  }
}

/** The code of an error that came in a stream or in an answer, where it is one of ours. */
export function codeOf(code: string | null | undefined): ErrorCode {
  return Object.keys(ERROR_CATALOG).find((one): one is ErrorCode => one === code) ?? 'upstream_failed';
}

function passedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    PASSED_HEADERS.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value]] : [];
    }),
  );
}

/**
 * The HTTP side of the service that a proxy stands before. Redirects are not followed. Every method throws
 * CodedError `upstream_failed`, and the reason of the signal where that was aborted.
 */
export class Upstream {
  readonly #base: URL;
  readonly #isSecure: boolean;
  readonly #agent: HttpAgent;

  /** `url` is the address of the service, with or without `/v1` at its end. */
  constructor(url: string) {
    this.#base = new URL(url.replace(/\/+$/, '').replace(/\/v1$/, ''));
    this.#isSecure = this.#base.protocol === 'https:';
    const options = { keepAlive: true, maxSockets: MAX_SOCKETS };
    this.#agent = this.#isSecure ? new HttpsAgent(options) : new HttpAgent(options);
  }

  /** The answer, once its headers are here. Throws UpstreamRefusal for any status but 200. */
  async open(sent: Sent, signal: AbortSignal): Promise<IncomingMessage> {
    const answer = await this.#send(sent, signal);
    if (answer.statusCode === 200) return answer;
    const body = await this.#read(answer, MAX_REFUSAL_BYTES, signal).catch(() => undefined);
    signal.throwIfAborted();
    throw new UpstreamRefusal(answer.statusCode ?? 0, answer.headers, body);
  }

  /** The whole answer. Throws as `open`, and Unverified `too_large`. */
  async ask(
    sent: Sent,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<{ headers: IncomingHttpHeaders; body: Buffer }> {
    const answer = await this.open(sent, signal);
    const body = await this.#read(answer, maxBytes, signal);
    if (body === undefined) throw new Unverified('too_large', `The answer has more than ${maxBytes} bytes.`);
    return { headers: answer.headers, body };
  }

  /** The pieces of an answer as they come. */
  async *pieces(answer: IncomingMessage, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of answer) yield piece as Uint8Array;
    } catch (cause) {
      throw failure(cause, signal);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Undefined where it is longer; the rest is then not read. */
  async #read(answer: IncomingMessage, maxBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of this.pieces(answer, signal)) {
      length += piece.length;
      if (length > maxBytes) return undefined;
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  async #send(sent: Sent, signal: AbortSignal): Promise<IncomingMessage> {
    try {
      return await this.#sendOnce(sent, signal).catch((error: unknown) => {
        // The service had just closed a connection that was kept: once more, on a new one.
        if (!(error instanceof ClosedMeanwhile)) throw error;
        return this.#sendOnce(sent, signal);
      });
    } catch (cause) {
      throw failure(cause, signal);
    }
  }

  #sendOnce({ method, path, headers, body }: Sent, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(`${this.#base.pathname.replace(/\/$/, '')}${path}`, this.#base);
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const options = { method, headers: { ...headers }, agent: this.#agent, signal, maxHeaderSize: MAX_HEADER_BYTES };
      const request = this.#isSecure ? httpsRequest(url, options) : httpRequest(url, options);
      request.once('response', resolve);
      // Unheard, it is neither an answer nor an error.
      request.once('upgrade', (_answer, socket) => {
        socket.destroy();
        reject(new Error('it answered with another protocol'));
      });
      request.once('error', (error) =>
        reject(request.reusedSocket && systemCodeOf(error) === 'ECONNRESET' ? new ClosedMeanwhile() : error),
      );
      request.end(body);
    });
  }
}

class ClosedMeanwhile extends Error {}

/** What went wrong: nobody waits any more, or the service could not be talked to. */
function failure(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (cause instanceof CodedError) return cause;
  const why = systemCodeOf(cause) ?? messageOf(cause);
  return new CodedError('upstream_failed', `The service cannot be reached, or broke off: ${why}.`, { cause });
}

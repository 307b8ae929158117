import { STATUS_CODES } from 'node:http';
import { Http2ServerRequest, constants, type SecureServerOptions } from 'node:http2';
import type { Socket } from 'node:net';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { JsonRefused, decodeUtf8, parseStrictJson } from '../../ground/json/strict-json.ts';
import type { TlsPair } from '../../ground/keys/tls-files.ts';
import { codedErrorOf, problemOf } from './problem.ts';

const MAX_DEPTH = 32;
const HEADERS_TIMEOUT_MS = 10_000;
const CHECK_CONNECTIONS_MS = 2_000;
const MAX_HEADER_BYTES = 16_384;
const MAX_CONNECTIONS = 10_000;
const MAX_PARAM_LENGTH = 200;
/** What one connection of HTTP/2 may ask at once. */
const MAX_STREAMS = 100;
const MAX_HEADERS = 100;

/** Certificate and key of a server, and who may connect. */
interface ServerTls extends TlsPair {
  /** Whoever connects must show a certificate of one of these; without them, nobody is asked for one. */
  readonly clientAuthorities?: readonly string[] | undefined;
}

/** The limits of one server on what comes from outside. */
export interface HttpBounds {
  /** Most bytes of a body that is read whole. */
  readonly bodyBytes: number;
  readonly bodyTimeoutMs: number;
  /** For the slowest request that is read as a stream. */
  readonly requestTimeoutMs: number;
  /** Whether the body of this request may take as long as the request. */
  readonly isStreamed: (contentType: string) => boolean;
  /** Where the server itself speaks TLS: HTTP/2 then, and HTTP/1.1 with whoever does not. */
  readonly tls?: ServerTls | undefined;
}

/** Answers an error that no route has seen. */
export type SendError = (error: CodedError, request: FastifyRequest, reply: FastifyReply) => void;

/**
 * Fastify with bounds on everything that comes from outside. Whatever is wrong with a request, also before
 * any route is found, is answered with a problem document; `documentOf` writes the one about bytes that never
 * became a request. It reads no body until a parser is added.
 */
export function boundedAdapter(
  bounds: HttpBounds,
  sendError: SendError,
  documentOf: (error: CodedError) => object = problemOf,
): FastifyAdapter {
  const limits = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: bounds.requestTimeoutMs,
    connectionsCheckingInterval: CHECK_CONNECTIONS_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const adapter = new FastifyAdapter({
    bodyLimit: bounds.bodyBytes,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, ignoreTrailingSlash: true },
    requestTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: 30_000,
    forceCloseConnections: true,
    ...(bounds.tls === undefined
      ? { http: limits }
      : { http2: true, http2SessionTimeout: bounds.requestTimeoutMs, https: tlsOptions(bounds.tls) }),
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
      sendError(codedErrorOf(error, bounds.bodyBytes), request, reply),
    clientErrorHandler: (cause, socket) => refuseBytes(cause, socket, documentOf),
  });
  const instance = adapter.getInstance();
  // A server of both versions takes these for HTTP/1.1 as members, and not as options.
  Object.assign(instance.server, limits, { maxConnections: MAX_CONNECTIONS });
  instance.removeAllContentTypeParsers();
  instance.addHook('onRequest', (request, reply, done) => {
    const encoding = request.headers['content-encoding']?.trim().toLowerCase() ?? '';
    // Over HTTP/1.1 they are refused before; over HTTP/2 they are packed, and only counted here.
    if (request.raw.rawHeaders.reduce((bytes, text) => bytes + text.length, 0) > MAX_HEADER_BYTES)
      sendError(headersRefused(), request, reply);
    else if (encoding === '' || encoding === 'identity') done();
    else sendError(encodingRefused(), request, reply);
  });
  // What is streamed may take long; any other body must come soon.
  const endLate = (request: FastifyRequest) => {
    if (!bounds.isStreamed(request.headers['content-type'] ?? '')) endLateBody(request, bounds.bodyTimeoutMs);
  };
  instance.addHook('preParsing', (request, _reply, payload, done) => {
    endLate(request);
    done(null, payload);
  });
  instance.addHook('onSend', (request, reply, _payload, done) => {
    // Clients that send everything first must hear the answer: what still comes is read and thrown away, for
    // as long as a body may take.
    if (reply.statusCode >= 400 && !request.raw.complete) {
      reply.removeHeader('connection');
      request.raw.resume();
      endLate(request);
    }
    reply.header('x-content-type-options', 'nosniff');
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done();
  });
  return adapter;
}

function tlsOptions({ cert, key, clientAuthorities }: ServerTls): SecureServerOptions {
  const asked = { ca: [...(clientAuthorities ?? [])], requestCert: true, rejectUnauthorized: true };
  return {
    cert,
    key,
    minVersion: 'TLSv1.2',
    allowHTTP1: true,
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES },
    maxHeaderListPairs: MAX_HEADERS,
    ...(clientAuthorities === undefined ? {} : asked),
  };
}

/** Closes the connection of a request whose body is not all here after so long; of HTTP/2, its stream. */
function endLateBody({ raw }: FastifyRequest, afterMs: number): void {
  const request: object = raw;
  // A body that is all here may have no reader, and then never ends as a stream.
  const timer = setTimeout(() => {
    if (raw.complete) return;
    if (request instanceof Http2ServerRequest) request.stream.close(constants.NGHTTP2_CANCEL);
    else raw.destroy();
  }, afterMs);
  raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
}

/** A body that is packed would have to be unpacked before anybody knows how long it is. */
const encodingRefused = () =>
  new CodedError('media_type_unsupported', 'Send the body as it is, without a Content-Encoding.', {
    headers: { 'accept-encoding': 'identity' },
  });

const headersRefused = () =>
  new CodedError('headers_too_large', `The headers are longer than ${MAX_HEADER_BYTES} bytes.`);

/** Answers bytes that are not HTTP, before there is any request. */
function refuseBytes(cause: NodeJS.ErrnoException, socket: Socket, documentOf: (error: CodedError) => object): void {
  if (cause.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const error =
    cause.code === 'HPE_HEADER_OVERFLOW'
      ? headersRefused()
      : new CodedError('request_invalid', 'The bytes are not an HTTP request, or they came too slowly.');
  const problem = JSON.stringify(documentOf(error));
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(problem)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${problem}`);
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Reads bodies as JSON without what two parsers read differently: duplicate members, bytes that are not
 * UTF-8, too deep nesting. A byte-order mark at the head, which some systems put before any text, says
 * nothing. `check` sees the bytes first, and throws where they are not to be read.
 */
export function addJsonParser(
  instance: FastifyInstance,
  bodyLimit: number,
  check: (request: FastifyRequest, body: Buffer) => void = () => undefined,
): void {
  instance.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit }, (request, bytes, done) => {
    const body = Buffer.from(bytes);
    try {
      check(request, body);
    } catch (error) {
      done(codedErrorOf(error));
      return;
    }
    if (body.length === 0) {
      done(null, undefined);
      return;
    }
    try {
      done(null, parseStrictJson(decodeUtf8(textOf(body)), { maxDepth: MAX_DEPTH }));
    } catch (error) {
      done(error instanceof JsonRefused ? new CodedError('body_not_json', error.message) : codedErrorOf(error));
    }
  });
}

function textOf(body: Buffer): Buffer {
  const mark = BYTE_ORDER_MARK.length;
  return body.subarray(0, mark).equals(BYTE_ORDER_MARK) ? body.subarray(mark) : body;
}

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { JsonRefused, decodeUtf8, parseStrictJson } from '../../ground/json/strict-json.ts';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { allowOrigins } from './cors.ts';
import { codedErrorOf, problemOf, sendError } from './problem.filter.ts';

/** Room for the largest input, escaped, and the rest of the body. */
const MAX_BODY_BYTES = MAX_INPUT_BYTES + 65_536;
const MAX_DEPTH = 32;
const HEADERS_TIMEOUT_MS = 10_000;
const BODY_TIMEOUT_MS = 30_000;
/** For the slowest upload of the largest file. */
const UPLOAD_TIMEOUT_MS = 900_000;
const CHECK_CONNECTIONS_MS = 2_000;
const MAX_HEADER_BYTES = 16_384;
const MAX_CONNECTIONS = 10_000;
const MAX_PARAM_LENGTH = 200;

/**
 * Fastify with bounds on everything that comes from outside. Whatever is wrong with a request, also before
 * any route is found, is answered with a problem document.
 */
export function httpAdapter(options: {
  readonly bodyTimeoutMs?: number;
  /** Whose pages may call from a browser. */
  readonly corsOrigins: readonly string[];
}): FastifyAdapter {
  const { bodyTimeoutMs = BODY_TIMEOUT_MS, corsOrigins } = options;
  const adapter = new FastifyAdapter({
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, ignoreTrailingSlash: true },
    requestTimeout: UPLOAD_TIMEOUT_MS,
    keepAliveTimeout: 30_000,
    forceCloseConnections: true,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: UPLOAD_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_CONNECTIONS_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
      sendError(codedErrorOf(error), request, reply),
    clientErrorHandler: refuseBytes,
  });
  const instance = adapter.getInstance();
  instance.server.maxConnections = MAX_CONNECTIONS;
  instance.removeAllContentTypeParsers();
  addJsonParser(instance);
  allowOrigins(instance, corsOrigins);
  // The controller of files reads the stream itself and stores it as it comes.
  instance.addContentTypeParser('multipart/form-data', (_request, payload, done) => done(null, payload));
  instance.addHook('preParsing', (request, _reply, payload, done) => {
    // A large file may take long; any other body must come soon.
    if (!/^multipart\//i.test(request.headers['content-type'] ?? '')) {
      // A body that is all here may have no reader, and then never ends as a stream.
      const timer = setTimeout(() => {
        if (!request.raw.complete) request.raw.destroy();
      }, bodyTimeoutMs);
      request.raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
    }
    done(null, payload);
  });
  instance.addHook('onSend', (request, reply, _payload, done) => {
    // Clients that send everything first must hear the answer: what still comes is read and thrown away, for
    // as long as a body may take.
    if (reply.statusCode >= 400 && !request.raw.complete) {
      reply.removeHeader('connection');
      request.raw.resume();
    }
    reply.header('x-content-type-options', 'nosniff');
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done();
  });
  return adapter;
}

/** Answers bytes that are not HTTP, before there is any request. */
function refuseBytes(cause: NodeJS.ErrnoException, socket: Socket): void {
  if (cause.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const error =
    cause.code === 'HPE_HEADER_OVERFLOW'
      ? new CodedError('headers_too_large', `The headers are longer than ${MAX_HEADER_BYTES} bytes.`)
      : new CodedError('request_invalid', 'The bytes are not an HTTP request, or they came too slowly.');
  const problem = JSON.stringify(problemOf(error));
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(problem)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${problem}`);
}

/** JSON without what two parsers read differently: duplicate members, lone surrogates, too deep nesting. */
function addJsonParser(instance: FastifyInstance): void {
  instance.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES },
    (request, body, done) => {
      if (body.length === 0) {
        done(null, undefined);
        return;
      }
      try {
        done(null, parseStrictJson(decodeUtf8(Buffer.from(body)), { maxDepth: MAX_DEPTH }));
      } catch (error) {
        done(error instanceof JsonRefused ? new CodedError('body_not_json', error.message) : codedErrorOf(error));
      }
    },
  );
}

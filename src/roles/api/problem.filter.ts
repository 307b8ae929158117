import { Catch, HttpException, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import type { Tallies } from '../../surfaces/dashboard/tallies.ts';
import { isOutOfMemory, storageFull } from '../../ground/redis/storage-gate.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { allowedMethods } from './allowed-methods.ts';
import { isDeposed } from '../../ground/redis/connection.ts';
import type { Problem } from '../../proof/contract/problem.ts';
import { openAiError, retryHeaders } from '../../surfaces/openai/openai-error.ts';

const REFUSALS_EVERY_MS = 1_000;

export function problemOf(error: CodedError): Problem {
  const { status, title } = ERROR_CATALOG[error.code];
  return {
    type: `urn:countersign:error:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  };
}

/**
 * Turns anything that was thrown into a coded error. An unforeseen one is `internal` and does not show its
 * cause.
 */
export function codedErrorOf(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  if (isOutOfMemory(error)) return storageFull(error);
  if (isRedisAway(error)) {
    return new CodedError(
      'storage_unavailable',
      'The storage does not respond at the moment; send the same request again, with an Idempotency-Key.',
      { cause: error, headers: { 'retry-after': '1' } },
    );
  }
  const status = error instanceof HttpException ? error.getStatus() : statusOf(error);
  switch (status) {
    case 404:
      return new CodedError('route_not_found', 'No route has this address; /docs lists all routes.', {
        cause: error,
      });
    case 405:
      return methodNotAllowed(error);
    case 413:
      return new CodedError('body_too_large', 'The body is larger than this service accepts.', { cause: error });
    case 415:
      return new CodedError('media_type_unsupported', 'Send the body as application/json.', { cause: error });
    case undefined:
      return new CodedError(
        'internal',
        'The request failed on our side; it is safe to send it again with the same Idempotency-Key.',
        { cause: error },
      );
    default:
      if (status >= 400 && status < 500)
        return new CodedError('request_invalid', 'The request is malformed.', { cause: error });
      return new CodedError(
        'internal',
        'The request failed on our side; it is safe to send it again with the same Idempotency-Key.',
        { cause: error },
      );
  }
}

function methodNotAllowed(cause: unknown, allow?: string): CodedError {
  return new CodedError(
    'method_not_allowed',
    'This address does not support that method; /docs lists all routes.',
    allow === undefined ? { cause } : { cause, headers: { allow } },
  );
}

/** ioredis reports this in several ways, and so does Redis itself, for example while it loads its file. */
function isRedisAway(error: unknown): boolean {
  const message = messageOf(error);
  return (
    /^(Command timed out|Connection is closed|Stream isn't writeable|Reached the max retries)/.test(message) ||
    /^(MISCONF|BUSY)/.test(message) ||
    isDeposed(error) ||
    ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT'].includes(systemCodeOf(error) ?? '')
  );
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

const OPENAI = /^\/v1\/(chat|completions|embeddings|models|files|batches|responses)(?=[/?]|$)/;

/** Whether OpenAI's clients call this address: they read errors in OpenAI's shape. */
export function isOpenAiPath(url: string): boolean {
  return OPENAI.test(url);
}

/** Addresses that only OpenAI's clients guess, such as those of a base URL without its /v1. */
const GUESSED = /^(\/v1)+\/|^\/(chat|completions|embeddings|models|files|batches|responses)(?=[/?]|$)/;

/** A problem document, or OpenAI's error where its clients ask: they print nothing of any other. */
export function sendError(thrown: CodedError, request: FastifyRequest, reply: FastifyReply): void {
  const allow = thrown.code === 'route_not_found' ? allowedMethods(request.url) : undefined;
  const error = allow === undefined ? thrown : methodNotAllowed(thrown, allow);
  const isOpenAi = isOpenAiPath(request.url) || (error.code === 'route_not_found' && GUESSED.test(request.url));
  void reply
    .status(error.status)
    .headers(isOpenAi ? { ...error.headers, ...retryHeaders(error) } : error.headers)
    .type(isOpenAi ? 'application/json; charset=utf-8' : 'application/problem+json; charset=utf-8')
    .send(JSON.stringify(isOpenAi ? openAiError(error) : problemOf(error)));
}

/** Where work is sent: what is refused there was refused at the door. */
const SENDS_WORK = /^POST \/v1\/(jobs|chat\/completions|completions|embeddings|responses|batches)\/?(\?|$)/;

@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger: Logger;

  /** Callers that are refused come by the thousand: one line a second says so. */
  readonly #tell: (refusal: object) => void;

  readonly #tallies: Pick<Tallies, 'refused'>;

  constructor(logger: Logger, tallies: Pick<Tallies, 'refused'>) {
    this.#logger = logger;
    this.#tallies = tallies;
    this.#tell = rateLimited(REFUSALS_EVERY_MS, (refusal: object, suppressed) => {
      logger.info({ ...refusal, suppressed }, 'a request was refused');
    });
  }

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    this.answer(codedErrorOf(error), http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }

  answer(error: CodedError, request: FastifyRequest, reply: FastifyReply): void {
    count('countersign_refusals_total', { code: error.code });
    if (SENDS_WORK.test(`${request.method} ${request.url}`)) this.#tallies.refused(error.code);
    const about = { code: error.code, method: request.method, route: request.routeOptions.url };
    // Only what is unforeseen is a fault of ours, and needs its stack. A 503 says what is known already.
    if (error.status === 500) this.#logger.error({ ...about, err: error.cause ?? error }, error.message);
    else this.#tell({ ...about, detail: error.message });
    if (reply.sent || reply.raw.headersSent) {
      reply.raw.destroy();
      return;
    }
    sendError(error, request, reply);
  }
}

import { HttpException } from '@nestjs/common';
import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { isDeposed } from '../../ground/redis/connection.ts';
import { isOutOfMemory, storageFull } from '../../ground/redis/storage-gate.ts';
import type { Problem } from '../../proof/contract/problem.ts';

/** The problem document of an error (RFC 9457). */
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
 * cause. `bodyBytes` is what a body may have at the address, for the sentence about one that has more.
 */
export function codedErrorOf(error: unknown, bodyBytes?: number): CodedError {
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
      return new CodedError(
        'body_too_large',
        bodyBytes === undefined
          ? 'The body is larger than this service accepts.'
          : `The body is larger than the ${bodyBytes} bytes that this service accepts.`,
        { cause: error },
      );
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

/** The refusal of a method; `allow` names those that the address has. */
export function methodNotAllowed(cause: unknown, allow?: string): CodedError {
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

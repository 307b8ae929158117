import { CodedError } from '../../ground/errors/coded-error.ts';
import { ERROR_CATALOG, type ErrorCode } from '../../ground/errors/catalog.ts';

/** The error of a problem document (RFC 9457), or a plain one if the body is none. */
export function errorIn(body: unknown, status: number): CodedError {
  const { code, detail, hint } = (typeof body === 'object' && body !== null ? body : {}) as {
    code?: unknown;
    detail?: unknown;
    hint?: unknown;
  };
  const known = typeof code === 'string' && Object.hasOwn(ERROR_CATALOG, code) ? (code as ErrorCode) : 'internal';
  return new CodedError(
    known,
    typeof detail === 'string' ? detail : `The API answered ${status}.`,
    typeof hint === 'string' ? { hint } : {},
  );
}

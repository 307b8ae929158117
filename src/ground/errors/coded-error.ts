import { ERROR_CATALOG, type ErrorCode } from './catalog.ts';

/**
 * An error with a stable code for programs and one sentence for people. The sentence is shown to the caller,
 * so it never holds a secret or anything about other tenants. Details for the operator go into `cause`.
 */
export class CodedError extends Error {
  override readonly name: string = 'CodedError';
  readonly code: ErrorCode;
  /** What to do about it, where the sentence alone does not say. */
  readonly hint: string | undefined;
  /** Response headers this error asks for, e.g. Retry-After. */
  readonly headers: Readonly<Record<string, string>>;
  /** The member of the request that is at fault, if one is. */
  readonly param: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; hint?: string; headers?: Record<string, string>; param?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.headers = options.headers ?? {};
    this.param = options.param;
  }

  get status(): number {
    return ERROR_CATALOG[this.code].status;
  }

  get exitCode(): number {
    return ERROR_CATALOG[this.code].exit;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error such as EADDRINUSE, or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

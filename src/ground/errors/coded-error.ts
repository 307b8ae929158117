import { z } from 'zod';
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

/** What Node says of files in its own words. */
const FILE_TROUBLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read or write it',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is no folder',
};

/**
 * The message of anything that was thrown: of a document that does not fit its schema the first fault, of a
 * file that cannot be used the reason in words.
 */
export function messageOf(error: unknown): string {
  if (error instanceof z.core.$ZodError) {
    const [issue] = error.issues;
    const where = issue?.path.map(String).join('.') ?? '';
    return `${where === '' ? 'the document' : where}: ${issue?.message ?? 'it has another shape'}`;
  }
  const code = systemCodeOf(error) ?? '';
  const trouble = isOfFile(error) ? FILE_TROUBLE[code] : undefined;
  if (trouble !== undefined) return `${trouble} (${code})`;
  return error instanceof Error ? error.message : String(error);
}

/** Whether a system error is about a file, and not about a socket; of a read, Node names no path. */
function isOfFile(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  return 'path' in error || ('syscall' in error && error.syscall === 'read');
}

/** The `code` of a Node system error such as EADDRINUSE, or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

import { CodedError, systemCodeOf } from '../errors/coded-error.ts';

const HEADERS = { 'retry-after': '5' };
const HINT = 'what was accepted goes on; send the same request again later, with the same Idempotency-Key';

/** What a file system answers that has no room left, for anybody or for this user. */
const FULL = new Set(['ENOSPC', 'EDQUOT']);
/** What it answers that is damaged, read-only, not ours, or away. */
const AWAY = new Set([
  'EACCES',
  'EIO',
  'EMFILE',
  'ENFILE',
  'ENODEV',
  'ENOTCONN',
  'ENOTDIR',
  'ENXIO',
  'EPERM',
  'EROFS',
  'ESTALE',
  'ETIMEDOUT',
]);

/**
 * CodedError `storage_full` or `storage_unavailable` where a file system is full or away, with the error as
 * its cause; anything else as it is.
 */
export function asStorageError(error: unknown): unknown {
  const code = systemCodeOf(error) ?? '';
  if (FULL.has(code)) return storageFull('The disk is full; the work is taken again when there is room.', error);
  if (AWAY.has(code))
    return storageUnavailable('The disk cannot be used now; the work is taken again when it can.', error);
  return error;
}

/** CodedError `storage_full`: nothing was refused for good. */
export function storageFull(message: string, cause?: unknown): CodedError {
  return new CodedError('storage_full', message, { cause, hint: HINT, headers: HEADERS });
}

/** CodedError `storage_unavailable`: nothing was refused for good. */
export function storageUnavailable(message: string, cause?: unknown): CodedError {
  return new CodedError('storage_unavailable', message, { cause, hint: HINT, headers: HEADERS });
}

/** Does this work with files. Throws what it throws, a full or missing disk as `asStorageError` says. */
export async function onDisk<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw asStorageError(error);
  }
}

/** Whether an error says that storage is full or away, and nothing about the work itself. */
export function isStorageError(error: unknown): error is CodedError {
  return error instanceof CodedError && (error.code === 'storage_full' || error.code === 'storage_unavailable');
}

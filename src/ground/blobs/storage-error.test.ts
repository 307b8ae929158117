import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../errors/coded-error.ts';
import { asStorageError, isStorageError, onDisk } from './storage-error.ts';

const failure = (code: string) => Object.assign(new Error(code), { code });

describe('what a file system answers', () => {
  test.each([
    ['ENOSPC', 'storage_full'],
    ['EDQUOT', 'storage_full'],
    ['EROFS', 'storage_unavailable'],
    ['EACCES', 'storage_unavailable'],
    ['EIO', 'storage_unavailable'],
    ['ENOTDIR', 'storage_unavailable'],
  ])('%s is %s, to be sent again later', async (code, expected) => {
    const error = await onDisk(() => Promise.reject(failure(code))).catch((thrown: unknown) => thrown);
    if (!(error instanceof CodedError)) throw new Error('it has no code');
    expect([error.code, error.status, error.headers['retry-after']]).toEqual([expected, 503, '5']);
    expect(isStorageError(error)).toBe(true);
  });

  test.each([failure('ENOENT'), new Error('plain'), 'no error', new CodedError('blob_missing', 'gone')])(
    'what is neither stays as it is: %s',
    (error) => {
      expect(asStorageError(error)).toBe(error);
      expect(isStorageError(error)).toBe(false);
    },
  );
});

import { describe, expect, test } from '@jest/globals';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PgliteDatabase } from '../../ground/database/pglite-database.ts';
import { lockFolder } from '../../ground/database/folder-lock.ts';
import { memoryContract } from '../../../test/support/memory-contract.ts';

describe('Memories in the embedded database', () => {
  memoryContract((folder) => PgliteDatabase.open(folder));
});

describe('lockFolder', () => {
  test('a folder is held by one at a time, and free again when it is let go', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-lock-'));
    const release = await lockFolder(folder);
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'start_failed' });
    release();
    (await lockFolder(folder))();
  });
});

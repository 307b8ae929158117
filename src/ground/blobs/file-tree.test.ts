import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe } from '@jest/globals';
import { treeContract } from '../../../test/support/tree-contract.ts';
import { FolderTree } from './file-tree.ts';

describe('files in a folder', () => {
  const root = mkdtempSync(join(tmpdir(), 'cs-tree-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  treeContract(() => new FolderTree(mkdtempSync(join(root, 't-'))));
});

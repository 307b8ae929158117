import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { packageIdentity } from './package-digest.ts';

test('a package is named by its version and the digest of its manifest, also where it exports none', () => {
  const { version, sha256, folder } = packageIdentity('node-llama-cpp');
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(sha256).toBe(sha256Hex(readFileSync(join(folder, 'package.json'))));
});

test('a package that is not installed is named in the error', () => {
  expect(() => packageIdentity('no-such-engine')).toThrow('no-such-engine');
});

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from '@jest/globals';
import { ROOT } from './redis.ts';

/** Real test data by others, which stays where it is. */
export const VECTORS = process.env['COUNTERSIGN_VECTORS'] ?? join(ROOT, '..', 'shared', 'vectors');

const there = existsSync(VECTORS);
if (!there) {
  if (process.env['CI'] === 'true') throw new Error(`The test vectors must be at ${VECTORS} in CI.`);
  process.stderr.write(`SKIPPED: there are no test vectors by others at ${VECTORS}\n`);
}

export const vectors = (name: string): unknown => JSON.parse(readFileSync(join(VECTORS, name), 'utf8'));

/** `describe`, skipped loudly where the vectors are absent. */
export const describeVectors = there ? describe : describe.skip;

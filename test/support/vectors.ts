import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from '@jest/globals';
import { ROOT } from './redis.ts';

/** Real test data by others, which stays where it is. */
export const VECTORS = process.env['COUNTERSIGN_VECTORS'] ?? join(ROOT, '..', 'shared', 'vectors');

const there = existsSync(VECTORS);
if (!there) {
  if (process.env['CI'] === 'true') throw new Error(`The test vectors must be at ${VECTORS} in CI.`);
  process.stderr.write(`SKIPPED: there are no test vectors by others at ${VECTORS}\n`);
}

export const vectors = (name: string): unknown => JSON.parse(readFileSync(join(VECTORS, name), 'utf8'));

/**
 * `describe`, skipped loudly where the vectors are absent. Its body is not run then: Jest runs that of a
 * skipped `describe` too, and it may read the vectors.
 */
export const describeVectors = there
  ? describe
  : (name: string, _: () => void) => {
      describe.skip(name, () => {
        test('needs the test vectors', () => undefined);
      });
    };

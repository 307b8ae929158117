import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { edited } from '../support/copied-build.ts';
import { ROOT } from '../support/redis.ts';
import { PLANTED_BUGS } from './planted-bugs.ts';

test('every planted bug is a change of a line that the build has, so that none is planted in vain', () => {
  for (const { edits } of PLANTED_BUGS)
    for (const edit of edits) {
      const text = readFileSync(join(ROOT, 'dist', edit.file), 'utf8');
      expect(edited(text, edit)).not.toBe(text);
    }
});

test('a text that stands nowhere, or twice, is no place for a bug', () => {
  expect(() => edited('a b', { file: 'f', find: 'c', replace: 'd' })).toThrow('f has 0 times, and not once: c');
  expect(() => edited('a a', { file: 'f', find: 'a', replace: 'd' })).toThrow('f has 2 times, and not once: a');
});

import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { ERROR_CATALOG } from './catalog.ts';

test('the page of the command line explains every exit code that there is, and no other', () => {
  const page = readFileSync(new URL('../../../docs/command-line.md', import.meta.url), 'utf8');
  const explained = [...page.matchAll(/^\| (\d+) +\|/gm)].map(([, code]) => Number(code));
  const given = Object.values(ERROR_CATALOG).map(({ exit }) => exit);
  expect(explained).toEqual([...new Set([0, ...given])].toSorted((a, b) => a - b));
});

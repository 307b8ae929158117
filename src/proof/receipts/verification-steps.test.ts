import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { VERIFICATION_STEPS } from './verification-steps.ts';

test('each step stands word for word in the specification', () => {
  const page = readFileSync(new URL('../../../docs/receipt-format.md', import.meta.url), 'utf8')
    .replace(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .replace(/`/g, '')
    .replace(/\s+/g, ' ');
  for (const sentence of Object.values(VERIFICATION_STEPS)) expect(page).toContain(sentence);
});

import { format, inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import { Secret } from './secret.ts';

const VALUE = 'correct horse';
const secret = new Secret(VALUE);

test.each([
  ['a template', `${secret.toString()} ${String(secret)}`],
  ['JSON', JSON.stringify({ password: secret })],
  ['inspect', inspect({ nested: [secret] }, { showHidden: true, depth: 9 })],
  ['format', format('%s %o %j', secret, secret, secret)],
  ['an error', new Error(`no access with ${String(secret)}`).message],
  ['its properties', Object.values(secret).join() + Object.getOwnPropertyNames(secret).join()],
])('a secret does not show in %s', (_, shown) => {
  expect(shown).not.toContain(VALUE);
});

test('a secret is revealed on demand', () => {
  expect(secret.reveal()).toBe(VALUE);
});

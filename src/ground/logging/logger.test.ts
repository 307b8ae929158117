import { expect, test } from '@jest/globals';
import { rateLimited } from './logger.ts';
import { keepSecret, redact } from './redact.ts';

test.each([
  ['csk_ab12_Zm9vYmFy-_x', 'csk_ab12_[secret]'],
  ['redis://worker:pa55@host:6379', 'redis://worker:[secret]@host:6379'],
  ['rediss://:pa55@host', 'rediss://:[secret]@host'],
  ['postgres://memory:p%40ss@db:5432/m', 'postgres://memory:[secret]@db:5432/m'],
  ['csj_0a_Zm9v-_x', 'csj_0a_[secret]'],
  ['csp_0a_Zm9v-_x', 'csp_0a_[secret]'],
  ['whsec_Zm9v+/=', 'whsec_[secret]'],
  ['authorization: Bearer sk-abcdefgh', 'authorization: Bearer [secret]'],
  ['-----BEGIN PRIVATE KEY-----\\nMC4C\\n-----END PRIVATE KEY-----', '[secret]'],
  ['http://host:8080/path@x', 'http://host:8080/path@x'],
  ['no secret at all', 'no secret at all'],
])('"%s" is logged as "%s"', (text, logged) => {
  expect(redact(`before ${text} after`)).toBe(`before ${logged} after`);
});

test('what was read as a secret is left out wherever it stands, and short words never', () => {
  keepSecret('-----BEGIN PRIVATE KEY-----\nhush-hush\n\n-----END PRIVATE KEY-----\n');
  keepSecret('so');
  expect(redact('so {"say":"x=hush-hush;"} is said')).toBe('so {"say":"x=[secret];"} is said');
});

test('of a thousand errors in a moment one is passed on', () => {
  const passed: number[] = [];
  const limited = rateLimited(60_000, (_, suppressed) => passed.push(suppressed));
  for (let count = 0; count < 1_000; count += 1) limited(new Error('down'));
  expect(passed).toEqual([0]);
});

test('the number of suppressed errors is reported with the next one that passes', () => {
  const passed: number[] = [];
  const unlimited = rateLimited(0, (_, suppressed) => passed.push(suppressed));
  unlimited('a');
  unlimited('b');
  expect(passed).toEqual([0, 0]);
});

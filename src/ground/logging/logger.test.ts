import { expect, test } from '@jest/globals';
import { rateLimited } from './logger.ts';
import { redact } from './redact.ts';

test.each([
  ['csk_ab12_Zm9vYmFy-_x', 'csk_ab12_[secret]'],
  ['redis://worker:pa55@host:6379', 'redis://worker:[secret]@host:6379'],
  ['rediss://:pa55@host', 'rediss://:[secret]@host'],
  ['no secret at all', 'no secret at all'],
])('"%s" is logged as "%s"', (text, logged) => {
  expect(redact(`before ${text} after`)).toBe(`before ${logged} after`);
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

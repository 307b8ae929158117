import { expect, test } from '@jest/globals';
import type { AuditAct } from './audit-entry.ts';
import { Attempts } from './attempts.ts';

const noted = () => {
  const acts: AuditAct[] = [];
  let nowMs = 1_790_000_000_000;
  const audit = { note: (act: AuditAct) => Promise.resolve(void acts.push(act)) };
  const attempts = new Attempts(audit, { warn: () => undefined }, () => nowMs);
  return { acts, attempts, pass: (ms: number) => void (nowMs += ms) };
};
const refused = (by: string) => ({ by, action: 'refused', target: 'GET /v1/keys', tenant: 'acme' });

test('any number of attempts of one kind are two entries, and the second says how many there were', () => {
  const { acts, attempts, pass } = noted();
  for (let n = 0; n < 20_000; n += 1) attempts.note(refused('a'));
  expect(acts).toEqual([{ ...refused('a'), detail: {} }]);
  pass(600_000);
  attempts.note(refused('b'));
  expect(acts.map(({ by, detail }) => [by, detail])).toEqual([
    ['a', {}],
    ['a', { more: 19_999, since: '2026-09-21T14:13:20.000Z' }],
    ['b', {}],
  ]);
});

test('any number of kinds are no more entries than there are kinds that are told apart, and none is forgotten', () => {
  const { acts, attempts } = noted();
  for (let n = 0; n < 20_000; n += 1) attempts.note(refused(`key ${n}`));
  expect(acts).toHaveLength(500);
  attempts.flush(true);
  const [rest] = acts.slice(500);
  expect(acts).toHaveLength(501);
  expect(rest).toMatchObject({ by: 'several', detail: { more: 19_500 } });
});

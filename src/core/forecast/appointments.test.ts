import { expect, test } from '@jest/globals';
import { Appointments } from './appointments.ts';

test('refused callers of one flow come back one after the other, and those of another are not behind them', () => {
  const appointments = new Appointments();
  const give = (flow: string) => appointments.give({ flow, excessMs: 500, turnMs: 100 }, 1_000, 0);
  expect([give('a'), give('a'), give('a'), give('b')]).toEqual([600, 700, 800, 600]);
});

test('no two come back together, and nobody is sent away for longer than ten minutes', () => {
  const appointments = new Appointments();
  const times = Array.from({ length: 20 }, (_, at) =>
    appointments.give({ flow: 'a', excessMs: 0, turnMs: 60_000 }, 0, at / 20),
  );
  expect(Math.max(...times)).toBeLessThanOrEqual(660_000);
  expect(new Set(times.slice(0, 9)).size).toBe(9);
});

test('what is over is forgotten, and a million flows are not kept', () => {
  const appointments = new Appointments();
  for (let at = 0; at < 30_000; at += 1) appointments.give({ flow: `f${at}`, excessMs: 0, turnMs: 1 }, at, 0);
  expect(appointments.give({ flow: 'f0', excessMs: 0, turnMs: 1 }, 30_000, 0)).toBe(51);
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { afterFailure, formatHealth, isDead, parseHealth, type EndpointHealth } from './endpoint-health.ts';

describe('the health of an endpoint', () => {
  test('whoever fails is left alone longer and longer, up to ten minutes', () => {
    let health: EndpointHealth | undefined;
    const pauses = Array.from({ length: 16 }, (_, at) => {
      health = afterFailure(health, at);
      return (health.untilMs - at) / 1_000;
    });
    expect(pauses).toEqual([0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
  });

  test('is dead after the stated time of failures alone, and not after one failure, however old', () => {
    const day = 86_400_000;
    expect(isDead({ failures: 1, sinceMs: 0, untilMs: 0 }, 9 * day, 5 * day)).toBe(false);
    expect(isDead({ failures: 9, sinceMs: 0, untilMs: 0 }, 5 * day - 1, 5 * day)).toBe(false);
    expect(isDead({ failures: 9, sinceMs: 0, untilMs: 0 }, 5 * day, 5 * day)).toBe(true);
  });

  test('any number of tries of a dead one in a day is fewer than two hundred', () => {
    let health = afterFailure(undefined, 0);
    let tries = 1;
    for (let now = health.untilMs; now < 86_400_000; now = Math.max(now + 1, health.untilMs)) {
      health = afterFailure(health, now);
      tries += 1;
    }
    expect(tries).toBeLessThan(200);
  });

  test('is read as it was written, and nothing else is', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (failures, sinceMs, untilMs) => {
        expect(parseHealth(formatHealth({ failures, sinceMs, untilMs }))).toEqual({ failures, sinceMs, untilMs });
      }),
    );
    for (const text of [null, undefined, '', '1', '1 2', '1 2 x', '-1 2 3', '1 2 3 4'])
      expect(parseHealth(text)).toBe(undefined);
  });
});

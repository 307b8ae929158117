import { describe, expect, test } from '@jest/globals';
import { RedisClock } from './redis-clock.ts';

const HOUR_MS = 3_600_000;

/** A Redis whose clock differs from ours by this much. */
class Played {
  asked = 0;
  isAway = false;
  readonly #aheadMs: number;

  constructor(aheadMs: number) {
    this.#aheadMs = aheadMs;
  }

  time(): Promise<number[]> {
    this.asked += 1;
    if (this.isAway) return Promise.reject(new Error('away'));
    const nowMs = Date.now() + this.#aheadMs;
    return Promise.resolve([Math.floor(nowMs / 1_000), (nowMs % 1_000) * 1_000]);
  }
}

describe('the clock of Redis', () => {
  test.each([-HOUR_MS, 0, HOUR_MS])(
    'is told where ours differs by %p ms, never behind and never back, and one answer serves many',
    async (aheadMs) => {
      const redis = new Played(aheadMs);
      const clock = new RedisClock(redis);
      const told = await Promise.all(Array.from({ length: 50 }, () => clock.nowMs()));
      const beforeMs = Date.now() + aheadMs;
      const last = await clock.nowMs();
      expect(last).toBeGreaterThanOrEqual(Math.max(...told, beforeMs));
      expect(last - beforeMs).toBeLessThan(HOUR_MS / 2);
      expect(redis.asked).toBe(1);
    },
  );

  test('is not guessed where Redis has never answered', async () => {
    const redis = new Played(0);
    redis.isAway = true;
    const clock = new RedisClock(redis);
    await expect(clock.nowMs()).rejects.toThrow('away');
    redis.isAway = false;
    const beforeMs = Date.now();
    expect(await clock.nowMs()).toBeGreaterThanOrEqual(beforeMs);
  });
});

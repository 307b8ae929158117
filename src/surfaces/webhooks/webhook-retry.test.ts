import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { webhookRetryMs } from './webhook-retry.ts';

const SCHEDULE = [0, 5, 300];

describe('retries of a webhook message', () => {
  test('follow the schedule, and end with it', () => {
    const waits = [1, 2, 3].map((attempts) => webhookRetryMs(SCHEDULE, attempts, undefined, 0));
    expect(waits).toEqual([5_000, 300_000, undefined]);
  });

  test('come later when the receiver asks, never sooner, and never later than a day', () => {
    expect(webhookRetryMs(SCHEDULE, 1, '60', 0)).toBe(60_000);
    expect(webhookRetryMs(SCHEDULE, 2, '60', 0)).toBe(300_000);
    expect(webhookRetryMs(SCHEDULE, 1, '999999999', 0)).toBe(86_400_000);
    expect(webhookRetryMs(SCHEDULE, 1, new Date(Date.now() + 999_999_000).toUTCString(), 0)).toBe(86_400_000);
    expect(webhookRetryMs(SCHEDULE, 3, '60', 0)).toBeUndefined();
  });

  test.each(['', '-5', '0', 'NaN', 'Infinity', 'Wed, 21 Oct 2015 07:28:00 GMT'])(
    'a Retry-After of "%s" changes nothing',
    (retryAfter) => {
      expect(webhookRetryMs(SCHEDULE, 1, retryAfter, 0)).toBe(5_000);
    },
  );

  test('are spread over a tenth of the wait, so that messages of one outage do not come back at once', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
        const waitMs = webhookRetryMs(SCHEDULE, 2, undefined, random) ?? 0;
        expect(waitMs).toBeGreaterThanOrEqual(300_000);
        expect(waitMs).toBeLessThan(330_000.001);
      }),
    );
  });
});

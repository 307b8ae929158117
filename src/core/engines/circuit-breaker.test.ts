import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LONGEST_PAUSE_MS } from '../../ground/process/growing-pause.ts';
import { CircuitBreaker, MOST_FAILURES } from './circuit-breaker.ts';

describe('the circuit breaker of an engine', () => {
  test('opens by failures in a row and by nothing less, and any answer closes it', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (answers) => {
        const breaker = new CircuitBreaker();
        let inARow = 0;
        for (const isAnswered of answers) {
          const wasOpen = breaker.isOpen;
          if (isAnswered) expect(breaker.answered()).toBe(wasOpen);
          else expect(breaker.failed()).toBe(!wasOpen && inARow + 1 >= MOST_FAILURES);
          inARow = isAnswered ? 0 : inARow + 1;
          expect(breaker.isOpen).toBe(inARow >= MOST_FAILURES);
        }
      }),
    );
  });

  test('puts its question less often each time that it is not answered, and once a minute at least', () => {
    const breaker = new CircuitBreaker();
    const pauses = Array.from({ length: 12 }, () => breaker.refused());
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));
    expect(new Set(pauses).size).toBeGreaterThan(4);
    expect(pauses.at(-1)).toBe(LONGEST_PAUSE_MS);
    breaker.answered();
    expect(breaker.refused()).toBe(pauses[0]);
  });
});

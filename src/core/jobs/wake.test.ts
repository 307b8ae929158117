import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { waitFor } from './wake.ts';

const never = new Promise<void>(() => undefined);

describe('waiting for a wake-up', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test('ends at the wake-up, long before the time is up', async () => {
    const before = jest.now();
    await waitFor(Promise.resolve(), 60_000, new AbortController().signal);
    expect(jest.now()).toBe(before);
  });

  test('ends when the time is up, although no wake-up came', async () => {
    let isOver = false;
    const waited = waitFor(never, 2_000, new AbortController().signal).then(() => (isOver = true));
    await jest.advanceTimersByTimeAsync(1_999);
    expect(isOver).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    await waited;
  });

  test('ends when the caller goes away', async () => {
    const caller = new AbortController();
    const waited = waitFor(never, 60_000, caller.signal);
    caller.abort();
    await waited;
  });

  test('leaves no timer and no listener behind, however it ends', async () => {
    const caller = new AbortController();
    await waitFor(Promise.resolve(), 60_000, caller.signal);
    const timedOut = waitFor(never, 1, caller.signal);
    await jest.advanceTimersByTimeAsync(1);
    await timedOut;
    expect([jest.getTimerCount(), getEventListeners(caller.signal, 'abort').length]).toEqual([0, 0]);
  });
});

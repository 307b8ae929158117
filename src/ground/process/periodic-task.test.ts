import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { PeriodicTask } from './periodic-task.ts';

const ignore = () => undefined;

describe('a periodic task', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test('runs again after the time that the last run asked for', async () => {
    const waits = [50, 500, 50];
    let runs = 0;
    const task = new PeriodicTask(() => Promise.resolve(waits[runs++] ?? 1_000), ignore, 1);
    task.start(10);
    for (const [afterMs, expected] of [
      [9, 0],
      [1, 1],
      [49, 1],
      [1, 2],
      [499, 2],
      [1, 3],
    ] as const) {
      await jest.advanceTimersByTimeAsync(afterMs);
      expect(runs).toBe(expected);
    }
    await task.stop();
  });

  test('never runs twice at once, however long a run takes', async () => {
    let runs = 0;
    let finish: (nextMs: number) => void = ignore;
    const task = new PeriodicTask(
      () => {
        runs += 1;
        return new Promise((resolve) => (finish = resolve));
      },
      ignore,
      1,
    );
    task.start();
    await jest.advanceTimersByTimeAsync(1_000_000);
    expect(runs).toBe(1);
    finish(5);
    await jest.advanceTimersByTimeAsync(5);
    expect(runs).toBe(2);
    finish(5);
    await task.stop();
  });

  test('reports an error and tries again', async () => {
    const errors: unknown[] = [];
    const task = new PeriodicTask(
      () => Promise.reject(new Error('down')),
      (error) => errors.push(error),
      100,
    );
    task.start();
    await jest.advanceTimersByTimeAsync(250);
    expect(errors).toHaveLength(3);
    await task.stop();
  });

  test('stops when the run in progress has ended, and never begins another', async () => {
    let runs = 0;
    let finish: (nextMs: number) => void = ignore;
    const task = new PeriodicTask(
      () => {
        runs += 1;
        return new Promise((resolve) => (finish = resolve));
      },
      ignore,
      1,
    );
    task.start();
    await jest.advanceTimersByTimeAsync(0);
    let isStopped = false;
    const stopping = task.stop().then(() => (isStopped = true));
    await jest.advanceTimersByTimeAsync(1_000);
    expect(isStopped).toBe(false);
    finish(0);
    await stopping;
    task.start();
    await jest.advanceTimersByTimeAsync(1_000);
    expect([runs, jest.getTimerCount()]).toEqual([1, 0]);
  });
});

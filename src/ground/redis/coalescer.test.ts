import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Coalescer } from './coalescer.ts';

describe('a coalescer', () => {
  test('answers every call with the result of its own item, in batches that are never too large', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer(), { minLength: 1, maxLength: 50 }),
        fc.integer({ min: 1, max: 7 }),
        async (items, maxItems) => {
          const batches: number[][] = [];
          const doubled = new Coalescer<number, number>(maxItems, (batch) => {
            batches.push(batch);
            return Promise.resolve(batch.map((item) => item * 2));
          });
          expect(await Promise.all(items.map((item) => doubled.add(item)))).toEqual(items.map((item) => item * 2));
          expect(batches.flat()).toEqual(items);
          expect(batches).toHaveLength(Math.ceil(items.length / maxItems));
        },
      ),
    );
  });

  test('gathers what comes while a batch is under way, and lets a full batch go beside it', async () => {
    const batches: number[][] = [];
    const ends: (() => void)[] = [];
    const held = new Coalescer<number, number>(3, async (batch) => {
      batches.push(batch);
      await new Promise<void>((resolve) => ends.push(resolve));
      return batch;
    });
    // The second for what the first has led to; a timer could come before either on a busy machine.
    const turn = async () => {
      for (let turns = 0; turns < 2; turns += 1) await setImmediate();
    };
    const calls = [held.add(1)];
    await turn();
    calls.push(held.add(2));
    await turn();
    calls.push(held.add(3));
    await turn();
    expect(batches).toEqual([[1]]);
    calls.push(held.add(4), held.add(5));
    await turn();
    expect(batches).toEqual([[1], [2, 3, 4]]);
    ends[0]?.();
    ends[1]?.();
    await turn();
    expect(batches).toEqual([[1], [2, 3, 4], [5]]);
    ends[2]?.();
    expect(await Promise.all(calls)).toEqual([1, 2, 3, 4, 5]);
  });

  test('fails the calls of a batch that failed and no others', async () => {
    const fails = new Coalescer<number, number>(2, (batch) =>
      batch.includes(1) ? Promise.reject(new Error('down')) : Promise.resolve(batch),
    );
    const settled = await Promise.allSettled([1, 2, 3, 4].map((item) => fails.add(item)));
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled', 'fulfilled']);
  });

  test('fails a call whose result is missing, instead of leaving it waiting', async () => {
    const short = new Coalescer<number, number>(5, (batch) => Promise.resolve(batch.slice(1)));
    const settled = await Promise.allSettled([1, 2].map((item) => short.add(item)));
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });
});

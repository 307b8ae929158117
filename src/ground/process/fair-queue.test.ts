import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FairQueue } from './fair-queue.ts';

const name = fc.constantFrom('a', 'b', 'c');

describe('a fair queue', () => {
  test('serves a house that has just come beside one with a thousand that wait, and forgets who has left', () => {
    const queue = new FairQueue<string>();
    for (let at = 0; at < 1_000; at += 1) queue.push('busy', `door ${at % 3}`, `busy ${at}`);
    for (let at = 0; at < 500; at += 1) queue.take();
    queue.push('quiet', 'only', 'quiet');
    expect([queue.take(), queue.take()]).toContain('quiet');
    for (let at = 0; at < 499; at += 1) queue.take();
    expect(queue.isEmpty).toBe(true);
    expect(queue.take()).toBeUndefined();
  });

  test('of houses that wait all the time none gets two more than another, nor a door two more than its neighbour', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, name), { minLength: 1, maxLength: 60 }),
        fc.nat({ max: 40 }),
        (all, takes) => {
          const queue = new FairQueue<readonly [string, string]>();
          for (const [house, door] of all) queue.push(house, door, [house, door]);
          const left = all.map((one) => one.join(' '));
          const served = new Map<string, number>();
          for (let at = 0; at < Math.min(takes, all.length); at += 1) {
            const [house, door] = queue.take() ?? ['', ''];
            left.splice(left.indexOf(`${house} ${door}`), 1);
            for (const one of [house, `${house} ${door}`]) served.set(one, (served.get(one) ?? 0) + 1);
          }
          const count = (one: string) => served.get(one) ?? 0;
          for (const waits of new Set(left.map((one) => one.slice(0, 1))))
            for (const other of ['a', 'b', 'c']) expect(count(other) - count(waits)).toBeLessThanOrEqual(1);
          for (const waits of new Set(left))
            for (const door of ['a', 'b', 'c'])
              expect(count(`${waits.slice(0, 1)} ${door}`) - count(waits)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  test('gives out what came once, and of one door in the order of coming', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.tuple(name, name)), { maxLength: 80 }), (steps) => {
        const queue = new FairQueue<[string, number]>();
        const taken: [string, number][] = [];
        for (const [at, step] of steps.entries()) {
          if (step !== null) queue.push(step[0], step[1], [step.join(' '), at]);
          else taken.push(...[queue.take()].filter((one) => one !== undefined));
        }
        while (!queue.isEmpty) taken.push(...[queue.take()].filter((one) => one !== undefined));
        expect(taken).toHaveLength(steps.filter((step) => step !== null).length);
        for (const door of new Set(taken.map(([one]) => one))) {
          const order = taken.filter(([one]) => one === door).map(([, at]) => at);
          expect(order).toEqual(order.toSorted((a, b) => a - b));
        }
      }),
    );
  });
});

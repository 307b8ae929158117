import { describe, expect, test } from '@jest/globals';
import { EnginePlaces } from './engine-places.ts';
import type { Outcome } from './job-runner.ts';
import { runPack } from './pack.ts';

const CONSUMED: Outcome = { kind: 'consumed' };
const NAMES = ['a', 'b', 'c', 'd'];

/** A pack in the hands of a test: what was run, in its order, and what was given back. */
function pack(
  outcome: (name: string) => Promise<Outcome> | Outcome,
  { mayBegin = true, isRefused = false, ahead = 1 } = {},
) {
  const claimed: string[] = [];
  const ran: string[] = [];
  const given: string[][] = [];
  const places = new EnginePlaces(1);
  const parts = {
    run: async (name: string) => {
      claimed.push(name);
      const place = await places.take(new AbortController().signal);
      try {
        ran.push(name);
        return await outcome(name);
      } finally {
        place.leave();
      }
    },
    claimAhead: () => ahead,
    giveBack: async (names: readonly string[]) => {
      given.push([...names]);
      await Promise.resolve();
      if (isRefused) throw new Error('Redis is away');
    },
    mayBegin: () => mayBegin,
  };
  return { claimed, ran, given, whole: runPack(NAMES, parts) };
}

describe('a pack', () => {
  test.each([1, 3, 16])('runs its jobs one after the other, in their order, %d claimed at once', async (ahead) => {
    let running = 0;
    const { claimed, ran, given, whole } = pack(
      async () => {
        expect((running += 1)).toBe(1);
        expect(claimed.length - ran.length).toBeLessThan(ahead);
        await Promise.resolve();
        running -= 1;
        return CONSUMED;
      },
      { ahead },
    );
    expect(await whole).toEqual({ names: [], afterMs: 0 });
    expect(ran).toEqual(NAMES);
    expect(given).toEqual([]);
  });

  test('names what this worker may not run now, and the longest pause', async () => {
    const { whole } = pack((name) =>
      name === 'b' || name === 'd' ? { kind: 'later', afterMs: name === 'b' ? 500 : 200 } : CONSUMED,
    );
    expect(await whole).toEqual({ names: ['b', 'd'], afterMs: 500 });
  });

  test('gives the rest back while a job takes longer than was expected', async () => {
    let end: () => void = () => undefined;
    const long = new Promise<void>((resolve) => (end = resolve));
    const { ran, given, whole } = pack(async (name) => {
      if (name === 'b') await long;
      return CONSUMED;
    });
    while (given.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(given).toEqual([['c', 'd']]);
    end();
    expect(await whole).toEqual({ names: [], afterMs: 0 });
    expect(ran).toEqual(['a', 'b']);
  });

  test('gives the rest back when the worker is told to leave', async () => {
    const { ran, given, whole } = pack(() => CONSUMED, { mayBegin: false });
    await whole;
    expect(ran).toEqual(['a']);
    expect(given).toEqual([['b', 'c', 'd']]);
  });

  test('runs what it cannot give back: nothing is lost', async () => {
    const { ran, whole } = pack(() => CONSUMED, { mayBegin: false, isRefused: true });
    await whole;
    expect(ran).toEqual(NAMES);
  });
});

import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { LoneTurns } from './lone-turns.ts';

test('a call that runs alone waits for the others, and those that come after it wait for it', async () => {
  const turns = new LoneTurns();
  const seen: string[] = [];
  const ends = new Map<string, () => void>();
  const call = (name: string) => async () => {
    seen.push(`${name} begins`);
    await new Promise<void>((resolve) => ends.set(name, resolve));
    seen.push(`${name} ends`);
  };
  const calls = [turns.beside(call('a')), turns.beside(call('b'))];
  await turn();
  calls.push(turns.alone(call('c')), turns.beside(call('d')));
  await turn();
  expect(seen).toEqual(['a begins', 'b begins']);
  ends.get('a')?.();
  await turn();
  expect(seen.at(-1)).toBe('a ends');
  ends.get('b')?.();
  await turn();
  expect(seen.slice(3)).toEqual(['b ends', 'c begins']);
  ends.get('c')?.();
  await turn();
  expect(seen.slice(5)).toEqual(['c ends', 'd begins']);
  ends.get('d')?.();
  await Promise.all(calls);
});

test('a call that fails holds up nobody', async () => {
  const turns = new LoneTurns();
  const fails = () => Promise.reject(new Error('no'));
  await expect(Promise.all([turns.alone(fails)])).rejects.toThrow('no');
  await expect(turns.beside(fails)).rejects.toThrow('no');
  await expect(turns.alone(() => Promise.resolve(1))).resolves.toBe(1);
  await expect(turns.beside(() => Promise.resolve(2))).resolves.toBe(2);
});

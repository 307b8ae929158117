import { expect, test } from '@jest/globals';
import { operatorsOf } from './enrolled-workers.ts';

test('operators of a pool are counted once each, and only by workers in good standing', () => {
  const active = { standing: { state: 'active' } } as const;
  const suspended = { standing: { state: 'suspended', from: '2026-01-01T00:00:00.000Z', why: '' } } as const;
  expect(
    operatorsOf([
      { ...active, operator: 'north', pools: ['a', 'b'] },
      { ...active, operator: 'north', pools: ['a'] },
      { ...active, operator: 'south', pools: ['a'] },
      { ...suspended, operator: 'east', pools: ['a', 'c'] },
    ]),
  ).toEqual({ a: 2, b: 1, c: 0 });
});

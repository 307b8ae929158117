import { describe, expect, test } from '@jest/globals';
import { readFilters, readNamed } from './mem0-filters.ts';

describe('filters of Mem0', () => {
  test('conditions that all hold are read, flat or as a list', () => {
    const meant = { owner: 'ann', agent: 'cook', category: 'food' };
    for (const filters of [
      { user_id: 'ann', agent_id: 'cook', categories: 'food' },
      { AND: [{ user_id: { eq: 'ann' } }, { agent_id: 'cook' }, { categories: { in: ['food'] } }] },
      { AND: [{ user_id: 'ann', agent_id: 'cook' }, { categories: { contains: 'food' } }] },
    ])
      expect(readFilters(filters)).toEqual(meant);
    const since = { created_at: { gte: '2026-01-01T02:00:00+02:00' } };
    expect(readFilters({ AND: [{ user_id: 'ann' }, since] })).toEqual({
      owner: 'ann',
      created_after: '2026-01-01T00:00:00.000Z',
    });
  });

  test('what would find more than one owner, or more than was meant, is refused', () => {
    for (const filters of [
      undefined,
      null,
      {},
      { agent_id: 'cook' },
      { OR: [{ user_id: 'ann' }, { user_id: '*' }] },
      { NOT: [{ user_id: 'ann' }] },
      { AND: [{ user_id: 'ann' }, { user_id: 'bob' }] },
      { AND: [{ user_id: 'ann' }, { OR: [{ run_id: 'x' }] }] },
      { user_id: { in: ['ann', 'bob'] } },
      { user_id: { ne: 'ann' } },
      { user_id: '*' },
      { user_id: 'ann', app_id: 'x' },
      { user_id: 'ann', created_at: { gt: '2026-01-01T00:00:00Z' } },
      { user_id: 'ann', __proto__: null, constructor: 'x' },
    ])
      expect(() => readFilters(filters)).toThrow('filters:');
  });

  test('a name beside the filters holds with them, and neither takes the place of the other', () => {
    const meant = { owner: 'ann', thread: 'r1', category: 'food' };
    for (const [names, filters] of [
      [{ user_id: 'ann', run_id: 'r1', agent_id: null }, { categories: 'food' }],
      [{ run_id: 'r1' }, { AND: [{ user_id: 'ann' }, { categories: 'food' }] }],
      [{}, { user_id: 'ann', run_id: 'r1', categories: 'food' }],
    ] as const)
      expect(readNamed(names, filters)).toEqual(meant);
    expect(readNamed({ user_id: 'ann' }, null)).toEqual({ owner: 'ann' });
    for (const filters of [
      { user_id: 'bob' },
      { OR: [{ user_id: '*' }] },
      { AND: [{ run_id: 'x' }], OR: [{ user_id: '*' }] },
      [],
      'x',
    ])
      expect(() => readNamed({ user_id: 'ann' }, filters)).toThrow('filters:');
    for (const names of [{}, { user_id: null }, { user_id: '*' }, { user_id: '' }, { agent_id: 'cook' }])
      expect(() => readNamed(names, undefined)).toThrow('filters:');
  });
});

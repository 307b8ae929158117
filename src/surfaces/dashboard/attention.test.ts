import { describe, expect, test } from '@jest/globals';
import { attentionOf, type Facts } from './attention.ts';

const CALM: Facts = {
  workers: [{ id: 'w-1', pool: 'gpu', state: 'consuming', problem: null, away: [] }],
  attestors: [{ id: 'a-1', problem: null }],
  quarantined: [],
  pools: [{ name: 'gpu', state: 'open', waiting: 0 }],
  queues: [{ model: 'm', pool: 'gpu', waiting: 9, slots: 4, nextWaitedMs: 11_000, predictedMs: 1_000 }],
  stuck: 0,
  attesting: 3,
  failingWebhooks: 0,
  isStorageFull: false,
  diskProblem: null,
};
const QUEUE = { model: 'm', pool: 'gpu', waiting: 9, slots: 4, nextWaitedMs: 11_000, predictedMs: 1_000 };
const WORKER = { id: 'w-1', pool: 'gpu', state: 'consuming', problem: null, away: [] } as const;

describe('the attention list', () => {
  test('is empty where nothing needs anybody', () => expect(attentionOf(CALM)).toEqual([]));

  test.each<[string, Partial<Facts>]>([
    ['no_attestor', { attestors: [] }],
    ['no_attestor', { attestors: [{ id: 'a-1', problem: 'log_diverged' }] }],
    ['storage_full', { isStorageFull: true }],
    ['disk', { diskProblem: 'storage_full' }],
    ['pool_paused', { pools: [{ name: 'gpu', state: 'paused', waiting: 2 }] }],
    ['pool_draining', { pools: [{ name: 'gpu', state: 'draining', waiting: 1 }] }],
    ['no_worker', { queues: [{ ...QUEUE, slots: 0 }] }],
    ['late', { queues: [{ ...QUEUE, nextWaitedMs: 12_001 }] }],
    ['quarantined', { quarantined: ['w-1'], workers: [{ ...WORKER, state: 'paused', problem: 'quarantined' }] }],
    ['barred', { workers: [{ ...WORKER, state: 'paused', problem: 'suspended' }] }],
    ['away', { workers: [{ ...WORKER, away: ['m'] }] }],
    ['stuck', { stuck: 1 }],
    ['webhooks', { failingWebhooks: 2 }],
  ])('names %s once, in sentences, with a next step', (kind, change) => {
    const found = attentionOf({ ...CALM, ...change });
    expect(found.map((one) => one.kind)).toEqual([kind]);
    for (const { title, detail, next } of found) {
      expect(title).toMatch(/^[^.]+[^.]$/);
      expect(detail).toMatch(/\.$/);
      expect(next.label).not.toBe('');
    }
  });

  test('does not blame a pause for what waits behind it', () => {
    const paused = attentionOf({
      ...CALM,
      pools: [{ name: 'gpu', state: 'paused', waiting: 9 }],
      queues: [{ ...QUEUE, slots: 0, nextWaitedMs: 99_000 }],
    });
    expect(paused.map(({ kind }) => kind)).toEqual(['pool_paused']);
  });

  test('puts first what stops the work, and is bounded', () => {
    const many = Array.from({ length: 400 }, (_, at) => ({ ...WORKER, id: `w-${at}`, away: ['m'] }));
    const found = attentionOf({ ...CALM, attestors: [], workers: many });
    expect([found.length, found[0]?.kind]).toEqual([50, 'no_attestor']);
  });
});

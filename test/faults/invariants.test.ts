import { expect, test } from '@jest/globals';
import { violations, type Seen, type Settled } from './invariants.ts';

const done = (job: string) => ({ job, state: 'done', isFinal: true, hasReceipt: true });
const accepted = (key: string, job: string): Seen => ({ kind: 'accepted', key, job });
const read = (job: string, state: string, isFinal = state !== 'running'): Seen => ({
  kind: 'read',
  job,
  state,
  isFinal,
});

const SENT = new Set(['k1', 'k2', 'k3']);
/** Two jobs that were done, one of them told twice; the answer about the third was lost. */
const HISTORY: Seen[] = [
  accepted('k1', 'a'),
  read('a', 'running'),
  accepted('k2', 'b'),
  accepted('k1', 'a'),
  read('a', 'done'),
];
const END: Settled = { jobs: [done('a'), done('b'), done('c')], places: 3 };

test('a history in which nothing went wrong has no violation', () => {
  expect(violations(SENT, HISTORY, END)).toEqual([]);
});

test.each<[string, Seen[], Settled]>([
  [
    'the key k1 has two jobs, a and d',
    [...HISTORY, accepted('k1', 'd')],
    { ...END, jobs: [done('d'), ...END.jobs.slice(0, 2)], places: 3 },
  ],
  ['a has two keys, k1 and k3', [...HISTORY, accepted('k3', 'a')], END],
  ['c was accepted under k9, which nobody sent', [...HISTORY, accepted('k9', 'c')], END],
  ['b was accepted and is lost', HISTORY, { jobs: [done('a')], places: 1 }],
  [
    'b was accepted and is still running',
    HISTORY,
    { jobs: [done('a'), { ...done('b'), state: 'running', isFinal: false, hasReceipt: false }], places: 1 },
  ],
  ['4 jobs came of 3 requests', HISTORY, { ...END, jobs: [...END.jobs, done('d')] }],
  ['b was failed, and then done', [...HISTORY, read('b', 'failed')], END],
  ['a was done, and then running', [...HISTORY, read('a', 'running')], END],
  ['b is done and has no receipt', HISTORY, { ...END, jobs: [done('a'), { ...done('b'), hasReceipt: false }] }],
  ['b is failed and has a receipt', HISTORY, { places: 1, jobs: [done('a'), { ...done('b'), state: 'failed' }] }],
  ['4 confirmations stand in the log for 3 jobs that are done', HISTORY, { ...END, places: 4 }],
])('finds that %s', (sentence, history, end) => {
  expect(violations(SENT, history, end)).toContain(sentence);
});

import { expect, test } from '@jest/globals';
import { violations, type Seen, type Settled } from './invariants.ts';

const done = (job: string) => ({
  job,
  state: 'done',
  isFinal: true,
  hasReceipt: true,
  attempts: 1,
  isLate: false,
});
const accepted = (key: string, job: string): Seen => ({ kind: 'accepted', key, job, attempts: 2 });
const read = (job: string, state: string, isFinal = state !== 'running'): Seen => ({
  kind: 'read',
  job,
  state,
  isFinal,
});
const told = (message: string, job: string, state = 'done', isTaken = true): Seen => ({
  kind: 'told',
  message,
  job,
  state,
  isTaken,
});
const held = (job: string, worker: number): Seen => ({ kind: 'held', job, worker });
const left = (job: string, worker: number): Seen => ({ kind: 'left', job, worker });

const SENT = new Set(['k1', 'k2', 'k3']);
/**
 * Two jobs that were done, one of them told twice, the other worked on by one worker after another; the
 * answer about the third was lost.
 */
const HISTORY: Seen[] = [
  accepted('k1', 'a'),
  read('a', 'running'),
  accepted('k2', 'b'),
  accepted('k1', 'a'),
  held('b', 1),
  left('b', 1),
  held('b', 2),
  { kind: 'late', job: 'b', reply: 'fenced' },
  read('a', 'done'),
  told('m1', 'a', 'done', false),
  told('m1', 'a'),
  told('m1', 'a'),
  told('m2', 'b'),
  told('m3', 'c'),
];
const END: Settled = { jobs: [done('a'), done('b'), done('c')], places: 3, isTold: true, problems: [] };
const endOf = (...jobs: Settled['jobs'][number][]): Settled => ({
  ...END,
  jobs,
  places: jobs.filter(({ state }) => state === 'done').length,
});

test('a history in which nothing went wrong has no violation', () => {
  expect(violations(SENT, HISTORY, END)).toEqual([]);
});

test.each<[string, Seen[], Settled]>([
  ['the key k1 has two jobs, a and d', [...HISTORY, accepted('k1', 'd')], endOf(done('d'), done('a'), done('b'))],
  ['a has two keys, k1 and k3', [...HISTORY, accepted('k3', 'a')], END],
  ['c was accepted under k9, which nobody sent', [...HISTORY, accepted('k9', 'c')], END],
  ['b was accepted and is lost', HISTORY, endOf(done('a'))],
  [
    'b was accepted and is still running',
    HISTORY,
    endOf(done('a'), { ...done('b'), state: 'running', isFinal: false, hasReceipt: false }),
  ],
  [
    'c was never accepted and is still queued',
    HISTORY,
    endOf(done('a'), done('b'), { ...done('c'), state: 'queued', isFinal: false, hasReceipt: false }),
  ],
  ['4 jobs came of 3 requests', HISTORY, endOf(...END.jobs, done('d'))],
  ['b was failed, and then done', [...HISTORY, read('b', 'failed')], END],
  ['a was done, and then running', [...HISTORY, read('a', 'running')], END],
  ['b is done and has no receipt', HISTORY, endOf(done('a'), { ...done('b'), hasReceipt: false })],
  ['b is failed and has a receipt', HISTORY, endOf(done('a'), { ...done('b'), state: 'failed' })],
  ['b was answered after its deadline', HISTORY, endOf(done('a'), { ...done('b'), isLate: true })],
  ['4 confirmations stand in the log for 3 jobs that are done', HISTORY, { ...END, places: 4 }],
  ['b was tried 3 times, and may be 2 times', HISTORY, endOf(done('a'), { ...done('b'), attempts: 3 })],
  ['a was cancelled, and is done', [...HISTORY, { kind: 'cancelled', job: 'a' }], END],
  ['nobody was told that d is done', HISTORY, endOf(...END.jobs, done('d'))],
  ['nobody was told that d is done', [...HISTORY, told('m4', 'd', 'done', false)], endOf(...END.jobs, done('d'))],
  ['a is done, and was told to be failed', [...HISTORY, told('m1', 'a', 'failed')], END],
  ['the end of a was told as 2 messages', [...HISTORY, told('m4', 'a')], END],
  ['b was given to worker 3 while worker 2 had it', [...HISTORY, held('b', 3)], END],
  ['b took a commit of an epoch that was closed', [...HISTORY, { kind: 'late', job: 'b', reply: 'ok' }], END],
  ['the books do not balance', HISTORY, { ...END, problems: ['the books do not balance'] }],
])('finds that %s', (sentence, history, end) => {
  expect(violations(SENT, history, end)).toContain(sentence);
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { statementBytes } from '../../proof/receipts/statements.ts';
import { documents } from '../../../test/support/sample-receipts.ts';
import { chunkEvents, formatEvent, inOrder, isAfter, parseEventId, stateEvents, type EventId } from './job-events.ts';
import { stateOf, type Attempt, type Ending } from './job-state.ts';

const ID = 'job_01';
type Documents = Parameters<typeof stateEvents>[0];

const anEventId: fc.Arbitrary<EventId> = fc.tuple(
  fc.integer({ min: 0, max: 9_999 }),
  fc.integer({ min: 0, max: 9 }),
  fc.integer({ min: 0, max: 999_999_999 }),
);

test('the end of a done job says how it was confirmed, also once it is erased, and no other end does', () => {
  const kept = { verdict: { keyId: '', signature: Buffer.alloc(0), payload: statementBytes(documents(1).verdict) } };
  const lastOf = (state: 'done' | 'rejected', more: object) =>
    stateEvents({
      id: ID,
      createdMs: 1,
      attempts: [],
      ending: { state, atMs: 2, epoch: 1, code: '', detail: '' },
      ...more,
    }).at(-1)?.data;
  const how = { confirmed_by: ['binding', 'recompute', 'usage'], not_checked: ['tee'] };
  expect(lastOf('done', { record: kept })).toMatchObject(how);
  expect(lastOf('done', { erased: kept })).toMatchObject(how);
  expect(lastOf('rejected', { record: kept })).not.toHaveProperty('confirmed_by');
});

/** The documents of a job at each step of its life: attempts that fail, then one that is the last. */
function life(failures: readonly { committed: boolean }[], last: 'confirmed' | 'refuted' | 'cancelled'): Documents[] {
  const attempts: Attempt[] = [];
  const snapshots: Documents[] = [];
  const keep = (ending?: Ending) => snapshots.push({ id: ID, createdMs: 1, attempts: [...attempts], ending });
  const change = (attempt: Partial<Attempt>) => {
    const current = attempts.pop();
    if (current !== undefined) attempts.push({ ...current, ...attempt });
  };
  const claim = () =>
    attempts.push({
      epoch: attempts.length + 1,
      worker: 'w-1',
      claimedMs: 2,
      beganMs: 2,
      committedMs: undefined,
      closed: undefined,
    });
  keep();
  for (const { committed } of failures) {
    claim();
    keep();
    if (committed) {
      change({ committedMs: 3 });
      keep();
    }
    change({ closed: { why: committed ? 'refuted' : 'released', atMs: 4, detail: '' } });
    keep();
  }
  claim();
  change({ committedMs: 3 });
  keep();
  // One ruling closes the last attempt and ends the job.
  if (last === 'refuted') change({ closed: { why: 'refuted', atMs: 5, detail: '' } });
  const state = last === 'confirmed' ? 'done' : last === 'refuted' ? 'rejected' : 'cancelled';
  keep({ state, atMs: 5, epoch: attempts.length, code: last, detail: '' });
  return snapshots;
}

const aLife = fc
  .tuple(
    fc.array(fc.record({ committed: fc.boolean() }), { maxLength: 4 }),
    fc.constantFrom('confirmed', 'refuted', 'cancelled'),
  )
  .map(([failures, last]) => life(failures, last));

describe('events of a job', () => {
  test('grow with the documents and never change: a follower who reads at any time misses none and sees none twice', () => {
    fc.assert(
      fc.property(aLife, (snapshots) => {
        const all = stateEvents(snapshots.at(-1) ?? { id: ID, createdMs: 1, attempts: [], ending: undefined });
        for (const snapshot of snapshots) {
          const events = stateEvents(snapshot);
          expect(all.slice(0, events.length)).toEqual(events);
          expect(events.at(-1)?.data['state']).toBe(stateOf(snapshot.attempts, snapshot.ending));
        }
        for (const [at, event] of all.entries())
          expect(all.slice(0, at).every(({ id }) => isAfter(event.id, id))).toBe(true);
      }),
    );
  });

  test('have ids that survive a Last-Event-ID header', () => {
    fc.assert(fc.property(anEventId, (id) => expect(parseEventId(id.join('.'))).toEqual(id)));
  });

  test.each(['', '1.2', '1.2.3.4', '-1.2.3', '1.22.3', '1.2.3\n', '1.2.3 ', '99999.1.1', '1.2.1e3'])(
    'refuse "%s" as an id',
    (text) => {
      expect(parseEventId(text)).toBeUndefined();
    },
  );

  test('have a strict order: of two different ids exactly one comes after the other', () => {
    fc.assert(
      fc.property(anEventId, anEventId, (a, b) => {
        const isEqual = a.join() === b.join();
        expect(Number(isAfter(a, b)) + Number(isAfter(b, a))).toBe(isEqual ? 0 : 1);
      }),
    );
  });

  test('are in order after inOrder, whatever the order in which documents and chunks were read', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anEventId, { selector: (id) => id.join() }), (ids) => {
        const events = inOrder(ids.map((id) => ({ id, type: 'state' as const, data: {} })));
        for (let at = 1; at < events.length; at += 1)
          expect(isAfter(events[at]?.id ?? [0, 0, 0], events[at - 1]?.id ?? [0, 0, 0])).toBe(true);
      }),
    );
  });

  test('of chunks come only from the worker that claimed the epoch', () => {
    const attempts = [{ epoch: 1, worker: 'w-1', claimedMs: 2, beganMs: 2, committedMs: undefined, closed: undefined }];
    const chunk = { epoch: 1, worker: 'w-1', place: 1, text: 'Hello' };
    expect(chunkEvents(ID, attempts, [chunk])).toEqual([
      { id: [1, 2, 1], type: 'chunk', data: { job: ID, epoch: 1, text: 'Hello', provisional: true } },
    ]);
    const forged = [
      { ...chunk, worker: 'w-2' },
      { ...chunk, epoch: 2 },
      { ...chunk, epoch: NaN },
      { ...chunk, place: 0 },
      { ...chunk, place: 1.5 },
      { ...chunk, place: NaN },
      { ...chunk, text: '' },
    ];
    expect(chunkEvents(ID, attempts, forged)).toEqual([]);
  });

  test('cannot be split by text that a worker wrote', () => {
    const text = 'a\n\nid: 9.9.9\nevent: state\ndata: {}\n\n';
    const formatted = formatEvent({ id: [1, 2, 1], type: 'chunk', data: { text } });
    expect(formatted.split('\n')).toHaveLength(5);
    expect(formatted.startsWith('id: 1.2.1\nevent: chunk\ndata: {"text":')).toBe(true);
  });
});

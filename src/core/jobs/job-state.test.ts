import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FINAL_STATES, JOB_STATES, isFinal, type JobState } from '../../proof/contract/job-states.ts';
import { TRANSITIONS, isJobState, stateOf, type Attempt, type Ending } from './job-state.ts';

interface Documents {
  readonly attempts: readonly Attempt[];
  readonly ending: Ending | undefined;
}

/** The documents after a move, as the scripts write them. */
function moved({ attempts, ending }: Documents, to: JobState): Documents {
  const epoch = attempts.length;
  if (isFinal(to)) return { attempts, ending: { state: to, atMs: 9, epoch, code: 'code', detail: '' } };
  if (to === 'running') {
    const claimed = {
      epoch: epoch + 1,
      worker: 'w',
      claimedMs: 1,
      beganMs: 1,
      committedMs: undefined,
      closed: undefined,
    };
    return { attempts: [...attempts, claimed], ending };
  }
  const change =
    to === 'attesting' ? { committedMs: 2 } : { closed: { why: 'released' as const, atMs: 3, detail: '' } };
  return { attempts: attempts.map((one) => (one.epoch === epoch ? { ...one, ...change } : one)), ending };
}

describe('the state of a job', () => {
  test('follows from its documents after every walk through the table of moves', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 30 }), (choices) => {
        let state: JobState = 'queued';
        let documents: Documents = { attempts: [], ending: undefined };
        for (const choice of choices) {
          const open: readonly JobState[] = TRANSITIONS[state];
          const to = open[choice % Math.max(1, open.length)];
          if (to === undefined) break;
          documents = moved(documents, to);
          expect(stateOf(documents.attempts, documents.ending)).toBe(to);
          state = to;
        }
      }),
    );
  });

  test('is final exactly where the table has no move', () => {
    expect(JOB_STATES.filter((state) => TRANSITIONS[state].length === 0)).toEqual(
      JOB_STATES.filter((state) => (FINAL_STATES as readonly JobState[]).includes(state)),
    );
  });

  test('can be reached from the start, each by some moves', () => {
    const reached = new Set<JobState>(['queued']);
    for (const state of reached) for (const next of TRANSITIONS[state]) reached.add(next);
    expect([...reached].toSorted()).toEqual([...JOB_STATES].toSorted());
  });

  test('is the one of the ending, whatever the attempts say', () => {
    const running = { epoch: 1, worker: 'w', claimedMs: 1, beganMs: 1, committedMs: undefined, closed: undefined };
    expect(stateOf([running], { state: 'cancelled', atMs: 2, epoch: 1, code: '', detail: '' })).toBe('cancelled');
  });

  test('is queued while the claim is held ready, and its evidence is attesting although nobody said that it began', () => {
    const ready = {
      epoch: 1,
      worker: 'w',
      claimedMs: 1,
      beganMs: undefined,
      committedMs: undefined,
      closed: undefined,
    };
    expect(stateOf([ready], undefined)).toBe('queued');
    expect(stateOf([{ ...ready, beganMs: 2 }], undefined)).toBe('running');
    expect(stateOf([{ ...ready, committedMs: 2 }], undefined)).toBe('attesting');
  });

  test.each(['', 'Queued', 'constructor', 'done '])('is never named "%s"', (text) => {
    expect(isJobState(text)).toBe(false);
  });
});

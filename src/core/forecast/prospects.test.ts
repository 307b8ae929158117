import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { OFFER } from '../../../test/support/sample-offer.ts';
import type { JobState } from '../../proof/contract/job-states.ts';
import { HINDRANCES } from '../../proof/contract/why.ts';
import type { JobView } from '../jobs/job.reader.ts';
import { etaAt, hasMoved, prospectOf, type Spot } from './prospects.ts';
import { whyOf, type AttestorFigures, type Coldness } from './why.ts';

const NOW = 1_700_000_000_000;
const NOBODY: AttestorFigures = { present: 0, able: 0, problem: undefined };
const ALONE = { attestors: NOBODY, enginesAway: 0 };
const SPOT: Spot = {
  nowMs: NOW,
  set: 'backlog',
  before: 0,
  running: 0,
  distance: 0,
  flow: 'a',
  isLogged: false,
  aside: undefined,
  pausedMs: undefined,
  limit: undefined,
  retries: undefined,
  handedIn: 0,
  confirming: 0,
};

function view(state: JobState, more: Partial<JobView> = {}): JobView {
  const beganMs = state === 'queued' ? undefined : NOW - 30;
  return {
    id: 'job',
    tenant: 'a',
    model: 'noop',
    queue: 'default.noop',
    createdMs: NOW - 100,
    deadlineMs: NOW + 60_000,
    notBeforeMs: undefined,
    priority: undefined,
    band: undefined,
    maxAttempts: 3,
    cancelAskedMs: undefined,
    ticket: '',
    keyId: '',
    hold: undefined,
    surface: undefined,
    isStored: true,
    attempts: [{ epoch: 1, worker: 'w', claimedMs: NOW - 40, beganMs, committedMs: undefined, closed: undefined }],
    ending: undefined,
    state,
    record: undefined,
    erased: undefined,
    ...more,
  };
}

const spots = fc.record({
  nowMs: fc.constant(NOW),
  set: fc.constantFrom('backlog', 'released', 'ready', 'begun'),
  before: fc.integer({ min: 0, max: 2_000_000 }),
  running: fc.integer({ min: 0, max: 10_000 }),
  distance: fc.double({ min: 0, max: 1e9, noNaN: true }),
  flow: fc.constant('a'),
  isLogged: fc.boolean(),
  aside: fc.option(fc.record({ sinceMs: fc.integer({ min: 1, max: NOW }), tries: fc.integer({ min: 1, max: 99 }) }), {
    nil: undefined,
  }),
  pausedMs: fc.option(fc.integer({ min: 1, max: NOW }), { nil: undefined }),
  limit: fc.constant(undefined),
  handedIn: fc.nat(20_000),
  confirming: fc.nat(20_000),
  retries: fc.option(fc.integer({ min: 1, max: 1_000 }), { nil: undefined }),
});
const open = fc.constantFrom('queued', 'running', 'attesting');
const slots = fc.integer({ min: 0, max: 10_000 });

describe('what is foreseen of an open job', () => {
  test('is an end to come, the likelier the later, and never sooner for more that goes before', () => {
    fc.assert(
      fc.property(spots, open, slots, fc.integer({ min: 0, max: 1_000 }), (spot, state, count, more) => {
        const now = prospectOf(view(state), spot, { offer: OFFER, slots: count });
        const behind = prospectOf(view(state), { ...spot, before: spot.before + more }, { offer: OFFER, slots: count });
        if (now.eta === undefined) {
          expect(spot.aside !== undefined || ((count === 0 || spot.pausedMs !== undefined) && state === 'queued')).toBe(
            true,
          );
          return;
        }
        expect(now.eta.p50Ms).toBeGreaterThanOrEqual(NOW);
        expect(now.eta.p90Ms).toBeGreaterThanOrEqual(now.eta.p50Ms);
        expect(behind.eta?.p50Ms).toBeGreaterThanOrEqual(now.eta.p50Ms);
        expect(behind.position ?? 0).toBeGreaterThanOrEqual(now.position ?? 0);
        expect(new Date(now.eta.p90Ms).toISOString()).toMatch(/^\d/);
      }),
    );
  });

  test('is no end before its time, nor before that of a job that comes then and finds nobody, and no place', () => {
    fc.assert(
      fc.property(spots, slots, fc.integer({ min: 1, max: 86_400_000 }), fc.nat(1_000), (spot, count, leftMs, ends) => {
        const job = view('queued', { notBeforeMs: NOW + leftMs });
        const due = { ends, distance: ends };
        const { position, eta } = prospectOf(job, { ...spot, set: 'later' }, { offer: OFFER, slots: count }, due);
        const isHeld = spot.aside !== undefined || spot.pausedMs !== undefined || count === 0;
        expect([position, eta === undefined]).toEqual([undefined, isHeld]);
        if (eta === undefined) return;
        expect(eta.p50Ms).toBeGreaterThanOrEqual(NOW + leftMs + OFFER.ownMs + OFFER.afterMs);
        expect(eta).toEqual(etaAt(OFFER, due, NOW + leftMs));
      }),
    );
  });

  test('counts only what must end: where places are free it begins at once, however far its tag is', () => {
    const free = prospectOf(
      view('queued'),
      { ...SPOT, running: 3, before: 4, distance: 1e6 },
      { offer: OFFER, slots: 8 },
    );
    expect(free.position).toBe(0);
    expect(free.eta?.p50Ms).toBe(NOW + OFFER.ownMs + OFFER.afterMs);
    expect(prospectOf(view('queued'), { ...SPOT, running: 8, before: 4 }, { offer: OFFER, slots: 8 }).position).toBe(5);
  });

  test('is nothing where nobody works, and where it has taken longer than nearly all do', () => {
    expect(prospectOf(view('queued'), SPOT, { offer: OFFER, slots: 0 })).toMatchObject({
      position: undefined,
      eta: undefined,
    });
    const late = { ...SPOT, nowMs: NOW + 3_600_000 };
    expect(prospectOf(view('running'), late, { offer: OFFER, slots: 8 }).eta).toBeUndefined();
  });

  test('is nothing while its pool is paused, where it was not given to workers before', () => {
    const paused = { ...SPOT, pausedMs: NOW - 5_000 };
    expect(prospectOf(view('queued'), paused, { offer: OFFER, slots: 8 })).toMatchObject({
      position: undefined,
      eta: undefined,
    });
    expect(prospectOf(view('running'), paused, { offer: OFFER, slots: 8 }).eta).toBeDefined();
    expect(whyOf(view('queued'), prospectOf(view('queued'), paused, { offer: OFFER, slots: 8 }), ALONE)).toMatchObject({
      held_by: 'paused_pool',
      numbers: { paused_ms: 5_000 },
      remedy: expect.stringContaining('resume'),
    });
  });

  test('is told again when it has moved, and not for every ms', () => {
    const at = (p50Ms: number, position = 3) => ({ position, eta: { p50Ms, p90Ms: p50Ms + 10_000 } });
    expect(hasMoved(undefined, at(NOW), NOW)).toBe(true);
    expect(hasMoved(at(NOW), at(NOW, 2), NOW)).toBe(true);
    expect(hasMoved(at(NOW), at(NOW + 900), NOW)).toBe(false);
    expect(hasMoved(at(NOW), at(NOW + 1_100), NOW)).toBe(true);
    expect(hasMoved(at(NOW), { position: 3, eta: undefined }, NOW)).toBe(true);
    expect(hasMoved({ position: 3, eta: undefined }, { position: 3, eta: undefined }, NOW)).toBe(false);
  });
});

describe('what holds a job', () => {
  const THERE: AttestorFigures = { present: 1, able: 1, problem: undefined };
  const why = (job: JobView, spot: Partial<Spot>, count: number, attestors = THERE, enginesAway = 0, cold?: Coldness) =>
    whyOf(job, prospectOf(job, { ...SPOT, ...spot }, { offer: OFFER, slots: count }), { attestors, enginesAway, cold })
      .held_by;
  const COLD = { coldMs: 8_000, workers: 2 };
  const ending = { state: 'expired', atMs: NOW, epoch: 0, code: 'expired', detail: '' } as const;

  test.each([
    ['not_before', () => why(view('queued', { notBeforeMs: NOW + 1 }), { set: 'later', pausedMs: NOW }, 0)],
    ['paused_pool', () => why(view('queued'), { pausedMs: NOW }, 0)],
    ['no_worker', () => why(view('queued'), {}, 0)],
    ['engine_away', () => why(view('queued'), {}, 0, THERE, 1)],
    ['slots', () => why(view('queued'), { running: 2 }, 2, THERE, 1)],
    ['attestation_backlog', () => why(view('queued'), { set: 'released', handedIn: 5_001 }, 2)],
    ['cold_model', () => why(view('queued'), { running: 2, before: 3 }, 2, THERE, 0, COLD)],
    ['no_worker', () => why(view('queued'), {}, 0, THERE, 0, COLD)],
    ['engine', () => why(view('running'), {}, 2, THERE, 0, COLD)],
    ['retry_pause', () => why(view('queued'), { set: 'held', retries: 3 }, 2)],
    ['share', () => why(view('queued'), { running: 2, distance: 5 }, 2)],
    ['slots', () => why(view('queued'), { running: 2 }, 2)],
    ['starting', () => why(view('queued'), { running: 1 }, 2)],
    ['engine', () => why(view('running'), {}, 2)],
    ['stopping', () => why(view('running', { cancelAskedMs: NOW }), {}, 2)],
    ['no_attestor', () => why(view('attesting'), {}, 2, { present: 0, able: 0, problem: undefined })],
    ['no_attestor', () => why(view('attesting'), {}, 2, { present: 1, able: 0, problem: 'log_diverged' })],
    ['not_judged', () => why(view('attesting'), { aside: { sinceMs: NOW, tries: 2 } }, 2)],
    ['attestation', () => why(view('attesting'), {}, 2)],
    ['publishing', () => why(view('attesting'), { isLogged: true }, 2)],
    ['ended', () => why(view('expired', { ending }), {}, 2)],
  ])('%s', (expected, found) => {
    expect(found()).toBe(expected);
  });

  test('is one thing, whatever is known, in a sentence with numbers that are numbers', () => {
    const figures = fc.record({
      present: fc.nat(3),
      able: fc.nat(3),
      problem: fc.option(fc.constant('log_diverged'), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        spots,
        open,
        slots,
        figures,
        fc.nat(2),
        fc.boolean(),
        (spot, state, count, attestors, enginesAway, isKnown) => {
          const job = view(state);
          const found = whyOf(job, isKnown ? prospectOf(job, spot, { offer: OFFER, slots: count }) : undefined, {
            attestors,
            enginesAway,
          });
          expect(HINDRANCES).toContain(found.held_by);
          expect(found.detail).toMatch(/^[A-Z].*\.$/);
          expect(Object.values(found.numbers).every(Number.isFinite)).toBe(true);
        },
      ),
    );
  });
});

import { expect, test } from '@jest/globals';
import { playInOrder, playTurns, type Arrival, type PlayedWorker } from '../../../test/support/simulated-turns.ts';
import { seeded } from '../../../test/support/simulated-tenants.ts';
import { MOST_PATIENCE_MS, nextSwap, patienceMs, type TurnTaker } from './swap-choice.ts';

const NOW = 1_000_000;
const model = (name: string, facts: Partial<TurnTaker> = {}): TurnTaker => ({
  name,
  loadedMs: undefined,
  atWork: 0,
  usedMs: 0,
  waitingMs: undefined,
  coldMs: 1_000,
  notBeforeMs: -Infinity,
  ...facts,
});
const loaded = (name: string, facts: Partial<TurnTaker> = {}) => model(name, { loadedMs: 0, usedMs: 1, ...facts });
const busy = (name: string, facts: Partial<TurnTaker> = {}) => loaded(name, { atWork: 1, waitingMs: NOW, ...facts });

test('nothing is loaded for nobody, and free room is used at once, for who has waited longest', () => {
  expect(nextSwap([loaded('a'), model('b')], 1, NOW)).toBeUndefined();
  const both = [model('b', { waitingMs: NOW }), model('c', { waitingMs: NOW - 1 })];
  expect(nextSwap([busy('a'), ...both], 2, NOW)).toEqual({ load: 'c', unload: undefined });
});

test('of the models without work, the one that was not used for longest makes room', () => {
  const models = [
    loaded('a', { usedMs: 9 }),
    loaded('b', { usedMs: 3 }),
    busy('c'),
    model('d', { waitingMs: NOW - 500 }),
  ];
  expect(nextSwap(models, 3, NOW)).toEqual({ load: 'd', unload: 'b' });
  // Another worker may be about to take it.
  expect(nextSwap([loaded('a'), model('d', { waitingMs: NOW - 100 })], 1, NOW)).toBeUndefined();
});

test('a model with work keeps its place for its time, and what waits for long enough gets it afterwards', () => {
  const waits = (ms: number, coldMs = 1_000) => model('b', { waitingMs: NOW - ms, coldMs });
  expect(nextSwap([busy('a'), waits(patienceMs(1_000) - 1)], 1, NOW)).toBeUndefined();
  expect(nextSwap([busy('a'), waits(patienceMs(1_000))], 1, NOW)).toEqual({ load: 'b', unload: 'a' });
  expect(nextSwap([busy('a', { loadedMs: NOW - 3_999 }), waits(50_000)], 1, NOW)).toBeUndefined();
  // However dear it is to load, the wait has an end.
  expect(nextSwap([busy('a'), waits(MOST_PATIENCE_MS, 3_600_000)], 1, NOW)).toEqual({ load: 'b', unload: 'a' });
});

test('one that could not be loaded is not tried before its time, and keeps out nobody else', () => {
  const failed = model('b', { waitingMs: 0, notBeforeMs: NOW + 1 });
  expect(nextSwap([loaded('a'), failed], 1, NOW)).toBeUndefined();
  expect(nextSwap([loaded('a'), failed, model('c', { waitingMs: 5 })], 1, NOW)).toEqual({ load: 'c', unload: 'a' });
});

const LONGEST_JOB_MS = 300;
const LOOKS_MS = 500;

/** Jobs at random moments for random models, at this part of what the worker can do without any load. */
function drawn(random: () => number, models: number, load: number, places: number): [Arrival[], PlayedWorker] {
  const coldMs = new Map(Array.from({ length: models }, (_, at) => [`m${at}`, 200 + Math.floor(random() * 3_000)]));
  const resident = 1 + Math.floor(random() * Math.min(3, models - 1));
  const trace: Arrival[] = [];
  for (let atMs = 0; trace.length < 400;) {
    const tookMs = 50 + Math.floor(random() * (LONGEST_JOB_MS - 50));
    atMs += (-Math.log(1 - random()) * tookMs) / (load * places * resident);
    trace.push({ atMs: Math.floor(atMs), model: `m${Math.floor(random() ** 2 * models)}`, tookMs });
  }
  return [trace, { coldMs, resident, places }];
}

/**
 * The turns of all others, each as long as its patience and until its last job has ended, and its own load.
 */
function longestTurn({ coldMs }: PlayedWorker): number {
  const patience = Math.max(...[...coldMs.values()].map(patienceMs));
  return [...coldMs.values()].reduce((sum, ms) => sum + patienceMs(ms) + ms + LONGEST_JOB_MS + LOOKS_MS, patience);
}

test.each([1, 2, 3, 4, 5, 6])(
  'whatever is asked for, all is served, never more is loaded, nobody starves, and loads are few (seed %d)',
  (seed) => {
    const random = seeded(seed);
    const models = 2 + Math.floor(random() * 9);
    const places = 1 + Math.floor(random() * 3);
    const [trace, worker] = drawn(random, models, 0.3 + 1.5 * random(), places);
    const { loads, waitsMs, mostLoaded, longestTurnMs } = playTurns(trace, worker);
    expect(waitsMs).toHaveLength(trace.length);
    expect(mostLoaded).toBeLessThanOrEqual(worker.resident);
    expect(longestTurnMs).toBeLessThanOrEqual(longestTurn(worker));
    expect(loads).toBeLessThanOrEqual(playInOrder(trace, worker).loads);
  },
);

test.each([1, 2])('where all models have work, loads take a fifth of the time at most (seed %d)', (seed) => {
  const random = seeded(seed);
  const coldMs = 500 + Math.floor(random() * 2_000);
  const names = ['a', 'b', 'c'];
  const trace = Array.from({ length: 3_000 }, () => ({
    atMs: 0,
    model: names[Math.floor(random() * 3)] ?? '',
    tookMs: 100,
  }));
  const worker = { coldMs: new Map(names.map((name) => [name, coldMs])), resident: 1, places: 1 };
  const { loads, waitsMs } = playTurns(trace, worker);
  const lengthMs = Math.max(...waitsMs) + 100;
  expect(loads).toBeGreaterThan(3);
  // The last turns of all end early: nothing is left.
  expect(loads).toBeLessThanOrEqual(lengthMs / (patienceMs(coldMs) + coldMs) + names.length);
});

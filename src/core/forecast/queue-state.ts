import type { SlotTimes } from './slot-times.ts';

/** What an API knows of a flow in a queue: a tenant, or a tenant's background work. Times in ms. */
export interface FlowState {
  /** The tag at which its next job would start. */
  readonly finish: number;
  /** Cost a second that was admitted, as a mean that forgets in `rateMemoryMs`, and when that was. */
  readonly rate: number;
  readonly rateAtMs: number;
  readonly weight: number;
}

/** What waits in a band of a queue. */
export interface Waiting {
  /** Jobs in its backlog. */
  readonly waiting: number;
  /** The smallest tag that waits; tags are in cost over weight. */
  readonly present: number;
  /** The flows; empty where they are too many to be read each time. */
  readonly flows: ReadonlyMap<string, FlowState>;
}

/** The same of another band, and how often that comes up for each time that this one does. */
export interface WaitingBeside extends Waiting {
  readonly turns: number;
}

/** A queue as it stands for a job of one band: whose jobs wait and run, and how many can run at once. */
export interface QueueState extends Waiting {
  readonly atMs: number;
  readonly slots: number;
  /** What a load of its model takes where no worker has it in memory; 0 where one has. */
  readonly coldMs: number;
  /** The operator has paused its pool: nothing of the backlog is given to workers. */
  readonly isPaused: boolean;
  /** Jobs whose claim is known. */
  readonly running: number;
  /** Jobs that were given to workers and not claimed yet. */
  readonly released: number;
  /** How long an answer that is given now waits for its confirmation; 0 where attestors have no backlog. */
  readonly confirmMs: number;
  /** How long the rates of flows are remembered. */
  readonly rateMemoryMs: number;
  /** What waits in other bands. */
  readonly beside: readonly WaitingBeside[];
}

const SHORTEST_MEMORY_MS = 2_000;
const LONGEST_MEMORY_MS = 3_600_000;
const MEMORY_SERVICES = 20;

/**
 * How long (ms) the rates of flows are remembered, where a job takes so long: several jobs, or who sends one
 * job in the time of one would pass for somebody who sends none, and those who come later would surprise
 * everybody who was told an end before. `fair-place.lua` has the same.
 */
export function memoryOfRates(tookMs: number): number {
  return Math.max(SHORTEST_MEMORY_MS, Math.min(LONGEST_MEMORY_MS, MEMORY_SERVICES * tookMs));
}

const MOST_ROUNDS = 12;
const CLOSE_ENOUGH = 0.002;
/** Waiting jobs are not believed to cost more or less than this many ordinary ones. */
const FARTHEST = 10;
/** They are taken for ordinary ones where few wait: as if so many ordinary ones waited beside them. */
const ORDINARY = 8;

/** A flow that is served beside another: its weight, its backlog, and what a ms adds to that. */
interface Rival {
  readonly name: string;
  readonly weight: number;
  readonly backlog: number;
  readonly perMs: number;
}

/** Another band that is served beside that of a job: all its flows together. */
interface BesideRival {
  readonly turns: number;
  readonly backlog: number;
  readonly perMs: number;
}

/** How long a place in a queue takes: for each job that is to end before, and for each unit of distance. */
export interface Path {
  /** ms for each job that must end first. */
  readonly perEndMs: number;
  /** ms for each unit of tag between the present and the job's own. */
  readonly perTagMs: number;
  /** The weights of all flows that have something waiting, this one included, and as much for other bands. */
  readonly weights: number;
}

/**
 * The paths of one queue at one moment. A job of a flow starts when every other flow was served what it has
 * waiting and what it goes on sending, but never more than its weight allows for the job's distance: alone,
 * the first would be wrong where others come later, and the second where nobody does.
 */
export class Paths {
  readonly #state: QueueState;
  readonly #costPerMs: number;
  readonly #meanWaiting: number;
  readonly #meanCost: number;
  readonly #rivals: readonly Rival[];
  readonly #beside: readonly BesideRival[];
  readonly #known = new Map<string, Path>();

  constructor(state: QueueState, times: SlotTimes, ordinaryCost: number) {
    this.#state = state;
    this.#costPerMs = Math.max(0.001, state.slots) / times.slotSpeed;
    this.#meanCost = times.meanCost ?? ordinaryCost;
    this.#rivals = rivalsIn(state, state);
    this.#beside = state.beside.map((lane) => {
      const rivals = rivalsIn(state, lane);
      // Where nothing waits, a flow that was the last to be served owes the rest of its turn to nobody.
      const backlog = lane.waiting === 0 ? 0 : sumOf(rivals.map((rival) => rival.backlog));
      return { turns: lane.turns, backlog, perMs: sumOf(rivals.map(({ perMs }) => perMs)) };
    });
    const backlog = this.#rivals.reduce((sum, rival) => sum + rival.backlog, 0);
    // What was released has a tag before the present: it is in no flow's backlog. Of each flow, the job that
    // the present is in is half over on average.
    const halves = this.#rivals.filter((rival) => rival.backlog > 0).length / 2;
    const mean = (backlog + ORDINARY * this.#meanCost) / (state.waiting + halves + ORDINARY);
    this.#meanWaiting = Math.min(this.#meanCost * FARTHEST, Math.max(this.#meanCost / FARTHEST, mean));
  }

  of(flow: string, weight: number): Path {
    const known = this.#known.get(flow);
    if (known !== undefined) return known;
    const own = this.#rivals.find(({ name }) => name === flow);
    const distance = Math.max(own?.backlog ?? 0, this.#meanCost) / weight;
    const path = {
      perEndMs: this.#meanWaiting / this.#costPerMs,
      perTagMs: this.#workBefore(flow, weight, distance) / distance / this.#costPerMs,
      weights:
        (weight + sumOf(this.#rivals.map((rival) => (rival.name !== flow && rival.backlog > 0 ? rival.weight : 0)))) *
        (1 + sumOf(this.#beside.map(({ backlog, turns }) => (backlog > 0 ? turns : 0)))),
    };
    this.#known.set(flow, path);
    return path;
  }

  /** What is served before a job of this flow at this distance, in cost. */
  #workBefore(flow: string, weight: number, distance: number): number {
    let work = weight * distance;
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const waitMs = work / this.#costPerMs;
      let next = weight * distance;
      for (const rival of this.#rivals)
        if (rival.name !== flow) next += Math.min(rival.weight * distance, rival.backlog + rival.perMs * waitMs);
      // Other bands get what they have and go on sending, but never more than their shares of that.
      next += sumOf(this.#beside.map(({ turns, backlog, perMs }) => Math.min(turns * next, backlog + perMs * waitMs)));
      if (next - work < CLOSE_ENOUGH * next) return next;
      work = next;
    }
    return work;
  }
}

/** The flows of a band that have something waiting, or send something. */
function rivalsIn({ atMs, rateMemoryMs }: QueueState, { flows, present }: Waiting): Rival[] {
  return [...flows].flatMap(([name, flow]): Rival[] => {
    const perMs = (flow.rate * Math.exp(-Math.max(0, atMs - flow.rateAtMs) / rateMemoryMs)) / 1_000;
    const backlog = Math.max(0, flow.finish - present) * flow.weight;
    return backlog > 0 || perMs > 1e-7 ? [{ name, weight: flow.weight, backlog, perMs }] : [];
  });
}

function sumOf(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

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

/** A queue as it stands: whose jobs wait and run, and how many can run at once. */
export interface QueueState {
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
  /** Jobs in the backlog. */
  readonly waiting: number;
  /** The smallest tag that waits; tags are in cost over weight. */
  readonly present: number;
  /** How long an answer that is given now waits for its confirmation; 0 where attestors have no backlog. */
  readonly confirmMs: number;
  /** How long the rates of flows are remembered. */
  readonly rateMemoryMs: number;
  /** The flows; empty where they are too many to be read each time. */
  readonly flows: ReadonlyMap<string, FlowState>;
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

/** How long a place in a queue takes: for each job that is to end before, and for each unit of distance. */
export interface Path {
  /** ms for each job that must end first. */
  readonly perEndMs: number;
  /** ms for each unit of tag between the present and the job's own. */
  readonly perTagMs: number;
  /** The weights of all flows that have something waiting, this one included. */
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
  readonly #known = new Map<string, Path>();

  constructor(state: QueueState, times: SlotTimes, ordinaryCost: number) {
    this.#state = state;
    this.#costPerMs = Math.max(0.001, state.slots) / times.slotSpeed;
    this.#meanCost = times.meanCost ?? ordinaryCost;
    this.#rivals = [...state.flows].flatMap(([name, flow]): Rival[] => {
      const perMs = (flow.rate * Math.exp(-Math.max(0, state.atMs - flow.rateAtMs) / state.rateMemoryMs)) / 1_000;
      const backlog = Math.max(0, flow.finish - state.present) * flow.weight;
      return backlog > 0 || perMs > 1e-7 ? [{ name, weight: flow.weight, backlog, perMs }] : [];
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
      weights: this.#rivals.reduce(
        (sum, rival) => sum + (rival.name !== flow && rival.backlog > 0 ? rival.weight : 0),
        weight,
      ),
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
      if (next - work < CLOSE_ENOUGH * next) return next;
      work = next;
    }
    return work;
  }
}

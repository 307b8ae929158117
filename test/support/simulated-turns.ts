import { nextSwap, type TurnTaker } from '../../src/core/execution/swap-choice.ts';

/** A job of a trace. Times in ms. */
export interface Arrival {
  readonly atMs: number;
  readonly model: string;
  readonly tookMs: number;
}

/** A worker that holds `resident` of its models at once, each with so many places. */
export interface PlayedWorker {
  readonly coldMs: ReadonlyMap<string, number>;
  readonly resident: number;
  readonly places: number;
}

/** What became of a trace. */
export interface Played {
  readonly loads: number;
  /** From the arrival of each job to its beginning, in the order of beginnings. */
  readonly waitsMs: readonly number[];
  readonly mostLoaded: number;
  /** The longest time for which a model had something waiting and began nothing. */
  readonly longestTurnMs: number;
}

const TICK_MS = 10;
const LOOK_EVERY_MS = 250;

interface Line {
  readonly name: string;
  readonly coldMs: number;
  readonly waiting: Arrival[];
  readonly endsMs: number[];
  loadedMs: number | undefined;
  usedMs: number;
  head: Arrival | undefined;
  headMs: number;
  /** When a job of it began last, or began to wait where none did. */
  servedMs: number;
}

/** The clock, the jobs and the memory of a worker; what is loaded when is decided by whoever plays it. */
class Stage {
  readonly lines: readonly Line[];
  nowMs = 0;
  #loading: { readonly line: Line; readonly endMs: number } | undefined;
  #loads = 0;
  #mostLoaded = 0;
  #longestTurnMs = 0;
  readonly #waitsMs: number[] = [];
  readonly #worker: PlayedWorker;
  readonly #trace: readonly Arrival[];
  #next = 0;

  constructor(trace: readonly Arrival[], worker: PlayedWorker) {
    this.#trace = trace;
    this.#worker = worker;
    this.lines = [...worker.coldMs].map(([name, coldMs]) => ({
      name,
      coldMs,
      waiting: [],
      endsMs: [],
      loadedMs: undefined,
      usedMs: 0,
      head: undefined,
      headMs: 0,
      servedMs: 0,
    }));
  }

  get isOver(): boolean {
    return this.#next === this.#trace.length && this.lines.every(({ waiting }) => waiting.length === 0);
  }

  get isLoading(): boolean {
    return this.#loading !== undefined;
  }

  get hasRoom(): boolean {
    return this.lines.filter(({ loadedMs }) => loadedMs !== undefined).length < this.#worker.resident;
  }

  get played(): Played {
    const [loads, mostLoaded, longestTurnMs] = [this.#loads, this.#mostLoaded, this.#longestTurnMs];
    return { loads, waitsMs: this.#waitsMs, mostLoaded, longestTurnMs };
  }

  line(name: string | undefined): Line | undefined {
    return this.lines.find((line) => line.name === name);
  }

  /** The next moment: what has ended leaves, what arrives waits. */
  tick(): void {
    this.nowMs += TICK_MS;
    for (let at = this.#trace[this.#next]; at !== undefined && at.atMs <= this.nowMs; at = this.#trace[this.#next]) {
      const line = this.line(at.model);
      if (line?.waiting.length === 0) line.servedMs = this.nowMs;
      line?.waiting.push(at);
      this.#next += 1;
    }
    for (const line of this.lines) {
      const going = line.endsMs.filter((endMs) => endMs > this.nowMs);
      line.endsMs.splice(0, Infinity, ...going);
    }
    if (this.#loading === undefined || this.#loading.endMs > this.nowMs) return;
    this.#loading.line.loadedMs = this.nowMs;
    this.#loading = undefined;
    const loaded = this.lines.filter(({ loadedMs }) => loadedMs !== undefined).length;
    this.#mostLoaded = Math.max(this.#mostLoaded, loaded);
  }

  /** Begins the job that waits longest for this model, where it is loaded and has a place. */
  begin(line: Line): boolean {
    if (line.loadedMs === undefined || line.endsMs.length >= this.#worker.places) return false;
    const job = line.waiting.shift();
    if (job === undefined) return false;
    this.#waitsMs.push(this.nowMs - job.atMs);
    line.endsMs.push(this.nowMs + job.tookMs);
    line.usedMs = this.nowMs;
    this.#longestTurnMs = Math.max(this.#longestTurnMs, this.nowMs - line.servedMs);
    line.servedMs = this.nowMs;
    return true;
  }

  /** Loads one in the place of another, whose jobs have ended. */
  swap(load: Line, unload: Line | undefined): void {
    if (unload !== undefined) unload.loadedMs = undefined;
    this.#loads += 1;
    this.#loading = { line: load, endMs: this.nowMs + load.coldMs };
  }
}

/** Plays a trace as a worker of ours does, which weighs swaps against waits. */
export function playTurns(trace: readonly Arrival[], worker: PlayedWorker): Played {
  const stage = new Stage(trace, worker);
  let leaving: string | undefined;
  while (!stage.isOver) {
    stage.tick();
    for (const line of stage.lines) while (line.name !== leaving && stage.begin(line));
    if (stage.isLoading || stage.nowMs % LOOK_EVERY_MS !== 0) continue;
    const swap = nextSwap(
      stage.lines.map((line) => seen(line, stage.nowMs)),
      worker.resident,
      stage.nowMs,
    );
    leaving = swap?.unload;
    const [load, unload] = [stage.line(swap?.load), stage.line(swap?.unload)];
    if (load === undefined || (unload !== undefined && unload.endsMs.length > 0)) continue;
    stage.swap(load, unload);
    leaving = undefined;
  }
  return stage.played;
}

function seen(line: Line, nowMs: number): TurnTaker {
  const [head] = line.waiting;
  if (head !== line.head) Object.assign(line, { head, headMs: nowMs });
  const { name, coldMs, loadedMs, usedMs, headMs, endsMs } = line;
  const waitingMs = head === undefined ? undefined : headMs;
  return { name, coldMs, loadedMs, usedMs, waitingMs, atWork: endsMs.length, notBeforeMs: -Infinity };
}

/**
 * Plays a trace in the order in which it arrives: the next job begins as soon as its model is loaded, in the
 * place of the one that has not been used for longest, and has a place.
 */
export function playInOrder(trace: readonly Arrival[], worker: PlayedWorker): Played {
  const stage = new Stage(trace, worker);
  while (!stage.isOver) {
    stage.tick();
    for (;;) {
      const next = least(
        stage.lines.filter(({ waiting }) => waiting.length > 0),
        ({ waiting }) => waiting[0]?.atMs ?? 0,
      );
      if (next === undefined) break;
      if (next.loadedMs === undefined && !stage.isLoading) {
        const idle = stage.lines.filter(({ loadedMs, endsMs }) => loadedMs !== undefined && endsMs.length === 0);
        const unload = stage.hasRoom ? undefined : least(idle, ({ usedMs }) => usedMs);
        if (stage.hasRoom || unload !== undefined) stage.swap(next, unload);
      }
      if (!stage.begin(next)) break;
    }
  }
  return stage.played;
}

function least(lines: readonly Line[], by: (line: Line) => number): Line | undefined {
  return lines.toSorted((one, other) => by(one) - by(other))[0];
}

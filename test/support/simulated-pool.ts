import { AdmissionRule, excessOf, graceOf, type Standing } from '../../src/core/forecast/admission-limits.ts';
import { Appointments } from '../../src/core/forecast/appointments.ts';
import type { JobSize } from '../../src/core/forecast/job-size.ts';
import { fairnessOf, jainIndex } from '../../src/core/forecast/fairness.ts';
import { offerOf, toldOf, type Offer } from '../../src/core/forecast/offer.ts';
import { Paths, memoryOfRates, type FlowState, type QueueState } from '../../src/core/forecast/queue-state.ts';
import { SlotTimes } from '../../src/core/forecast/slot-times.ts';
import { endAt, type Told } from '../../src/core/forecast/told.ts';
import { Agenda } from './agenda.ts';
import { BASE_MS, TOKEN_MS, seeded, truth, type SimulatedTenant } from './simulated-tenants.ts';

export interface Simulation {
  readonly tenants: readonly SimulatedTenant[];
  readonly seed: number;
  readonly slots?: number;
  /** Places of the workers that are there at a time (ms), where they come and go. */
  readonly slotsAt?: (atMs: number) => number;
  /** What a slot does nothing for after each job (ms). */
  readonly handOverMs?: number;
  /** How many times longer all jobs take. */
  readonly timesLonger?: number;
  /** How often an API reads the figures. */
  readonly readEveryMs?: number;
  /** How often the pool is looked at for `series`; never by default. */
  readonly sampleMs?: number;
  readonly warmMs?: number;
  readonly forMs?: number;
  /** How many times too much the operator's hint says. */
  readonly hintFactor?: number;
  /** Admit everything, as a control. */
  readonly admitAll?: boolean;
  /** Engines are this many times slower from `from` to `to`. */
  readonly slower?: { readonly fromMs: number; readonly toMs: number; readonly factor: number };
}

/** The pool at one moment, and what was decided since the one before. */
export interface Sample {
  readonly atMs: number;
  readonly slots: number;
  readonly running: number;
  readonly waiting: number;
  readonly admitted: number;
  readonly refused: number;
  readonly missed: number;
}

/** Figures of the jobs that were offered between the warm-up and the end. */
export interface Outcome {
  /** The share of the slots' time spent on answers in time. */
  readonly goodput: number;
  readonly admitted: number;
  readonly refused: number;
  /** Of the admitted. */
  readonly missed: number;
  readonly innocentRefused: number;
  readonly innocentOffered: number;
  /** The share of admitted jobs that ended within the 80 % interval that they were told. */
  readonly covered: number;
  /** Jain's index of the engines' time that greedy tenants got, over their weights. */
  readonly jain: number;
  /** What the metric said at the end of that time; undefined where too few had work waiting. */
  readonly liveJain: number | undefined;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How often a greedy tenant's largest jobs were admitted, over its smallest. */
  readonly largeOverSmall: number;
  readonly attempts: number;
  readonly uniques: number;
  /** Median error of the wait that was told, of jobs that waited longer than a mean job takes. */
  readonly waitError: number;
  readonly series: readonly Sample[];
}

interface Job {
  readonly tenant: SimulatedTenant;
  readonly size: JobSize;
  readonly serviceMs: number;
  readonly bornMs: number;
  tries: number;
  askedMs: number;
  tag: number;
  cost: number;
  told: Told | undefined;
  distance: number;
  beganMs: number;
  counts: boolean;
}

/** As in backlog.ts. */
const AHEAD_MS = 200;
/** As in learner.ts. */
const LOOK_MS = 250;

function quantile(values: readonly number[], part: number): number {
  const sorted = Float64Array.from(values).toSorted();
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN;
}

/** Where a tag belongs in a list that is in order, behind its equals. */
function placeOf(jobs: readonly Job[], tag: number): number {
  let [low, high] = [0, jobs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((jobs[middle]?.tag ?? 0) <= tag) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * A seeded discrete-event simulation of one queue and its workers. What decides is the code of the service;
 * what is simulated is what Redis and the workers do: tags and counts as in fair-place.lua and admit.lua, the
 * backlog and what is released as in release.lua, an API that reads the figures every 200 ms.
 */
export class SimulatedPool {
  readonly #options: Required<Omit<Simulation, 'slower' | 'slotsAt'>> & Pick<Simulation, 'slower' | 'slotsAt'>;
  readonly #agenda = new Agenda();
  readonly #random: () => number;
  readonly #times: SlotTimes;
  readonly #rule = new AdmissionRule(0.99);
  readonly #appointments = new Appointments();
  #nowMs = 0;
  #backlog: Job[] = [];
  #released: Job[] = [];
  #running = 0;
  #present = 1;
  #flows = new Map<string, FlowState & { sinceMs: number; beyondMs: number }>();
  #read: { atMs: number; paths: Paths; state: QueueState } | undefined;
  #pace = { rate: 0, sinceMs: 0, count: 0 };
  readonly #good = new Map<string, number>();
  readonly #sizes = new Map<string, { asked: number; admitted: number }>();
  readonly #latencies: number[] = [];
  readonly #waitErrors: number[] = [];
  readonly #series: Sample[] = [];
  #liveJain: number | undefined;
  #since = { admitted: 0, refused: 0, missed: 0 };
  readonly #figures = {
    goodMs: 0,
    admitted: 0,
    refused: 0,
    missed: 0,
    inside: 0,
    scored: 0,
    innocentRefused: 0,
    innocentOffered: 0,
    attempts: 0,
    uniques: 0,
  };

  constructor(simulation: Simulation) {
    this.#options = {
      slots: 16,
      handOverMs: 0,
      timesLonger: 1,
      readEveryMs: 200,
      sampleMs: Infinity,
      warmMs: 10_000,
      forMs: 60_000,
      hintFactor: 1,
      admitAll: false,
      ...simulation,
    };
    this.#random = seeded(simulation.seed);
    const factor = this.#options.hintFactor * this.#options.timesLonger;
    this.#times = new SlotTimes({ base_ms: BASE_MS * factor, token_ms: TOKEN_MS * factor });
  }

  run(): Outcome {
    const { tenants, forMs } = this.#options;
    for (const tenant of tenants) this.#arrivals(tenant);
    this.#agenda.add(forMs, () => {
      this.#liveJain = fairnessOf(this.#figuresNow().state, this.#times);
    });
    this.#samples();
    this.#looks();
    const longest = Math.max(...tenants.map(({ deadlineMs }) => deadlineMs));
    for (let event = this.#agenda.next(); event !== undefined; event = this.#agenda.next()) {
      if (event.atMs > forMs + 1.2 * longest) break;
      this.#nowMs = event.atMs;
      event.run();
    }
    return this.#outcome();
  }

  #arrivals(tenant: SimulatedTenant): void {
    const { forMs } = this.#options;
    const next = () => this.#nowMs + (-Math.log(1 - this.#random()) / tenant.rate) * 1_000;
    const arrive = () => {
      if (this.#nowMs > forMs + tenant.deadlineMs) return;
      const share = tenant.sends?.(this.#nowMs) ?? 1;
      if (share >= 1 || this.#random() < share) this.#ask(this.#newJob(tenant));
      this.#agenda.add(next(), arrive);
    };
    this.#agenda.add(next(), arrive);
  }

  #newJob(tenant: SimulatedTenant): Job {
    const tokens = tenant.sizes[Math.floor(this.#random() * tenant.sizes.length)] ?? 64;
    const size: JobSize = { task: 'completion', maxTokens: tokens, inputBytes: 40 };
    const serviceMs = truth(this.#random, tokens, tenant.share) * this.#options.timesLonger;
    const bornMs = this.#nowMs;
    if (this.#isCounted(bornMs)) this.#figures.uniques += 1;
    return {
      tenant,
      size,
      serviceMs,
      bornMs,
      tries: 0,
      askedMs: 0,
      tag: 0,
      cost: 0,
      told: undefined,
      counts: false,
      distance: 0,
      beganMs: 0,
    };
  }

  get #slots(): number {
    return this.#options.slotsAt?.(this.#nowMs) ?? this.#options.slots;
  }

  get #rateMemoryMs(): number {
    return memoryOfRates((this.#times.meanCost ?? 0) * this.#times.speed);
  }

  get #graceMs(): number {
    return graceOf((this.#times.meanCost ?? 0) * this.#times.speed);
  }

  #samples(): void {
    const { sampleMs, forMs } = this.#options;
    if (!Number.isFinite(sampleMs)) return;
    const sample = () => {
      const waiting = this.#backlog.length + this.#released.length;
      this.#series.push({ atMs: this.#nowMs, slots: this.#slots, running: this.#running, waiting, ...this.#since });
      this.#since = { admitted: 0, refused: 0, missed: 0 };
      if (this.#nowMs < forMs) this.#agenda.add(this.#nowMs + sampleMs, sample);
    };
    this.#agenda.add(sampleMs, sample);
  }

  /** As the attestors do. */
  #looks(): void {
    const waiting = this.#backlog.length + this.#released.length;
    this.#times.look({ atMs: this.#nowMs, waiting, slots: this.#slots });
    this.#agenda.add(this.#nowMs + LOOK_MS, () => this.#looks());
  }

  #isCounted(atMs: number): boolean {
    return atMs >= this.#options.warmMs && atMs < this.#options.forMs;
  }

  #ask(job: Job): void {
    const { tenant, size } = job;
    job.askedMs = this.#nowMs;
    job.tries += 1;
    job.counts = this.#isCounted(this.#nowMs);
    job.cost = this.#times.costOf(size, tenant.name);
    const { paths, state } = this.#figuresNow();
    const path = paths.of(tenant.name, tenant.weight);
    const offer = offerOf(state, this.#times, path, job.cost);
    const { tag, standing } = this.#standing(tenant);
    const limits = this.#rule.limits(offer, tenant.deadlineMs, this.#times.count, tenant.weight);
    const excessMs = excessOf(offer, limits, standing);
    const isRefused = !this.#options.admitAll && excessMs > 0;
    this.#note(job, isRefused);
    if (isRefused) {
      const turnMs = (job.cost * this.#times.slotSpeed * path.weights) / (tenant.weight * state.slots);
      this.#comeBack(job, excessMs, turnMs);
    } else this.#admit(job, tag, standing, offer);
  }

  #note({ tenant, size, counts }: Job, isRefused: boolean): void {
    this.#since[isRefused ? 'refused' : 'admitted'] += 1;
    if (!counts) return;
    const figures = this.#figures;
    figures.attempts += 1;
    if (isRefused) figures.refused += 1;
    else figures.admitted += 1;
    if (tenant.isInnocent === true) {
      figures.innocentOffered += 1;
      if (isRefused) figures.innocentRefused += 1;
    }
    const name = `${tenant.name} ${size.maxTokens}`;
    const before = this.#sizes.get(name) ?? { asked: 0, admitted: 0 };
    this.#sizes.set(name, { asked: before.asked + 1, admitted: before.admitted + (isRefused ? 0 : 1) });
  }

  #comeBack(job: Job, excessMs: number, turnMs: number): void {
    const flow = job.tenant.name;
    const afterMs = this.#appointments.give({ flow, excessMs, turnMs }, this.#nowMs, this.#random());
    if (job.tenant.obeys === true && job.tries < 3 && afterMs < 60_000)
      this.#agenda.add(this.#nowMs + afterMs, () => this.#ask(job));
  }

  /** The tag of the tenant's next job and what stands before it, as the script finds them. */
  #standing(tenant: SimulatedTenant): { tag: number; standing: Standing } {
    const [head] = this.#backlog;
    if (head !== undefined) this.#present = head.tag;
    else if (this.#running + this.#released.length === 0) {
      this.#flows.clear();
      this.#present = 1;
    }
    const flow = this.#flows.get(tenant.name);
    const tag = Math.max(this.#present, flow?.finish ?? 0);
    const ahead = placeOf(this.#backlog, tag);
    const inHand = Math.max(0, this.#running + this.#released.length - this.#slots + 1);
    // Where a place is free nothing waits, whatever was released last.
    const distance = inHand === 0 && head === undefined ? 0 : tag - this.#present;
    const backloggedMs = distance > 0 ? this.#nowMs - (flow?.sinceMs ?? this.#nowMs) : 0;
    return {
      tag,
      standing: { ends: inHand + ahead, ahead, distance, ties: placeOf(this.#backlog, this.#present), backloggedMs },
    };
  }

  #admit(job: Job, tag: number, standing: Standing, offer: Offer): void {
    const { tenant } = job;
    job.tag = tag;
    job.told = toldOf(offer, standing);
    job.distance = standing.distance;
    const before = this.#flows.get(tenant.name);
    const decayed = (before?.rate ?? 0) * Math.exp(-(this.#nowMs - (before?.rateAtMs ?? 0)) / this.#rateMemoryMs);
    const isBreak = standing.distance <= 0 && this.#nowMs - (before?.beyondMs ?? -Infinity) > this.#graceMs;
    this.#flows.set(tenant.name, {
      finish: tag + job.cost / tenant.weight,
      rate: decayed + (job.cost * 1_000) / this.#rateMemoryMs,
      rateAtMs: this.#nowMs,
      weight: tenant.weight,
      sinceMs: isBreak ? this.#nowMs : (before?.sinceMs ?? this.#nowMs),
      beyondMs: standing.distance > 0 ? this.#nowMs : (before?.beyondMs ?? -Infinity),
    });
    this.#backlog.splice(placeOf(this.#backlog, tag), 0, job);
    this.#release();
  }

  #figuresNow(): { paths: Paths; state: QueueState } {
    if (this.#read === undefined || this.#nowMs - this.#read.atMs >= this.#options.readEveryMs) {
      const state = {
        atMs: this.#nowMs,
        slots: this.#slots,
        coldMs: 0,
        isPaused: false,
        running: this.#running,
        released: this.#released.length,
        waiting: this.#backlog.length,
        present: this.#present,
        confirmMs: 0,
        rateMemoryMs: this.#rateMemoryMs,
        beside: [],
        flows: new Map(this.#flows),
      };
      this.#read = { atMs: this.#nowMs, state, paths: new Paths(state, this.#times, 100) };
    }
    return this.#read;
  }

  /** As release.lua: the slots, and as many again or what is released in a moment. */
  #release(): void {
    const slots = this.#slots;
    const pace = this.#pace;
    const wanted = Math.max(16, slots + Math.max(slots, Math.ceil((pace.rate * AHEAD_MS) / 1_000)));
    const room = wanted - this.#released.length - this.#running;
    const moved = this.#backlog.splice(0, Math.max(0, room));
    this.#present = moved.at(-1)?.tag ?? this.#present;
    this.#released.push(...moved);
    pace.count += moved.length;
    const elapsed = this.#nowMs - pace.sinceMs;
    if (elapsed >= 250) {
      pace.rate = (pace.rate + (pace.count * 1_000) / elapsed) / 2;
      pace.sinceMs = this.#nowMs;
      pace.count = 0;
    }
    this.#work();
  }

  #work(): void {
    while (this.#running < this.#slots) {
      const job = this.#released.shift();
      if (job === undefined) break;
      if (this.#nowMs >= job.askedMs + job.tenant.deadlineMs) {
        this.#end(job, Infinity);
        continue;
      }
      this.#running += 1;
      const { slower } = this.#options;
      const isSlow = slower !== undefined && this.#nowMs >= slower.fromMs && this.#nowMs < slower.toMs;
      const tookMs = job.serviceMs * (isSlow ? slower.factor : 1);
      job.beganMs = this.#nowMs;
      this.#noteWait(job);
      this.#agenda.add(this.#nowMs + tookMs, () => this.#finish(job, tookMs));
    }
  }

  #noteWait({ told, counts, askedMs }: Job): void {
    const waitMs = this.#nowMs - askedMs;
    if (counts && told !== undefined && waitMs > told.meanMs)
      this.#waitErrors.push(Math.abs(told.startMs - waitMs) / waitMs);
  }

  #finish(job: Job, tookMs: number): void {
    const { handOverMs } = this.#options;
    const { size, cost, tenant, askedMs: fromMs, beganMs: untilMs } = job;
    const waited = job.distance > 0 ? { fromMs, untilMs } : undefined;
    this.#times.learn({ size, flow: tenant.name, tookMs, cost, afterMs: 0, waited, atMs: this.#nowMs });
    const isGood = this.#nowMs <= job.askedMs + job.tenant.deadlineMs;
    if (isGood && this.#isCounted(this.#nowMs)) {
      this.#figures.goodMs += tookMs;
      this.#good.set(job.tenant.name, (this.#good.get(job.tenant.name) ?? 0) + tookMs);
    }
    this.#end(job, this.#nowMs - job.askedMs, isGood);
    const free = () => {
      this.#running -= 1;
      this.#release();
    };
    if (handOverMs === 0) free();
    else this.#agenda.add(this.#nowMs + handOverMs, free);
  }

  #end(job: Job, tookMs: number, isGood = false): void {
    const { told } = job;
    if (told === undefined) return;
    const waiting = this.#backlog.length + this.#released.length;
    this.#times.score(told, tookMs, { waiting, slots: this.#slots });
    if (!isGood) this.#since.missed += 1;
    if (!job.counts) return;
    const figures = this.#figures;
    if (isGood) this.#latencies.push(tookMs);
    else figures.missed += 1;
    figures.scored += 1;
    if (tookMs >= endAt(told, 'z10') && tookMs <= endAt(told, 'z90')) figures.inside += 1;
  }

  #outcome(): Outcome {
    const { tenants, warmMs, forMs, slots } = this.#options;
    const { goodMs, admitted, refused, missed, innocentRefused, innocentOffered, attempts, uniques } = this.#figures;
    // Who was refused more than now and then wanted more than its share.
    const greedy = tenants.filter(({ name }) => this.#refusedShare(name) > 0.02);
    const shares = greedy.map(({ name, weight }) => (this.#good.get(name) ?? 0) / weight);
    const at = (part: number) => quantile(this.#latencies, part);
    return {
      goodput: goodMs / (slots * (forMs - warmMs)),
      admitted,
      refused,
      missed,
      innocentRefused,
      innocentOffered,
      attempts,
      uniques,
      covered: this.#figures.inside / this.#figures.scored,
      jain: jainIndex(shares),
      liveJain: this.#liveJain,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      largeOverSmall: this.#largeOverSmall(greedy),
      waitError: quantile(this.#waitErrors, 0.5),
      series: this.#series,
    };
  }

  #refusedShare(tenant: string): number {
    const rows = [...this.#sizes].filter(([name]) => name.startsWith(`${tenant} `)).map(([, row]) => row);
    const asked = rows.reduce((sum, row) => sum + row.asked, 0);
    return asked === 0 ? 0 : 1 - rows.reduce((sum, row) => sum + row.admitted, 0) / asked;
  }

  #largeOverSmall(greedy: readonly SimulatedTenant[]): number {
    const ratios = greedy.flatMap(({ name, sizes }) => {
      const share = (tokens: number | undefined) => {
        const size = this.#sizes.get(`${name} ${tokens ?? 0}`);
        return size === undefined ? NaN : size.admitted / size.asked;
      };
      const ratio = share(sizes.at(-1)) / share(sizes[0]);
      return sizes.length > 1 && Number.isFinite(ratio) ? [ratio] : [];
    });
    return ratios.reduce((all, ratio) => all + ratio, 0) / ratios.length;
  }
}

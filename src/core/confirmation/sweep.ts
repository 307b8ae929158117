import { channel } from 'node:diagnostics_channel';
import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { DEFAULT_HINT } from '../engines/time-hint.ts';
import { keptIn } from '../forecast/learned.store.ts';
import type { SlotTimes } from '../forecast/slot-times.ts';
import type { Backlog } from '../backlog/backlog.ts';
import { EMPTIED_DETAIL } from '../backlog/pool-state.ts';
import { CONFIRMATION_LOOK_MS, READY_LOOK_MS, type Schedules, type Whereabouts } from '../backlog/schedules.ts';
import { lastRefutation, type Candidates } from './candidates.ts';
import { readCases, type CaseFile } from './case-file.ts';
import { cancellation, type Decisions } from './decisions.ts';
import type { Learner } from './learner.ts';
import { MOST_LOST, lostWorker } from './lost-worker.ts';
import type { Ruling } from './rulings.ts';

const OTHER_COMMITS = loadScript(new URL('./lua/other-commits.lua', import.meta.url), listOf(text));

/** Published for each look at a schedule, as `{ schedule, jobs }`, where tests or metrics subscribe. */
export const looked = channel('countersign.attestor.looked');

/** Jobs of one look at one schedule. */
const PAGE = 200;
/** A released job that nobody claims is compared with BullMQ this often. */
const DELIVERY_AGAIN_MS = 3_000;
/** A lease is believed for no longer: its worker can say what it likes. */
const LONGEST_LEASE_MS = 30_000;
/** What was decided and could not be done is tried again after this. */
const AGAIN_MS = 1_000;
/** The work is done; its confirmation may take this much longer than the deadline. */
const ATTEST_GRACE_MS = 60_000;
/** Past its deadline a worker stops by itself; this much later it is not waited for. */
const STOP_GRACE_MS = 500;
/** Cases that are judged at once beside the looks. */
const MAX_IN_HAND = 5_000;
/** Beyond this epoch nothing is taken back: each claim uses one of the few that a job has. */
const MOST_TAKEN_BACK = 4;
/** So many commits beside the first of an epoch are looked at; an honest epoch has none. */
const MAX_BESIDE = 50;

/**
 * What can happen to an open job by time alone, each with sets of its own: its deadline passes, its lease
 * runs out, its delivery is lost, it is held ready by a worker while others idle, its confirmation is
 * overdue.
 */
const SCHEDULES = ['deadlines', 'leases', 'deliveries', 'ready', 'confirmations'] as const;
type ScheduleName = (typeof SCHEDULES)[number];

/** A job that is due, and the set that it was found in. */
interface Due {
  readonly set: string;
  readonly file: CaseFile;
}

/**
 * Looks after every open job whose time has come: expired, cancelled, abandoned by its worker, lost by the
 * queue, or unheard by the intake. It takes pages from the heads of schedules, so that how soon it comes to a
 * job does not depend on how many wait. Every attestor sweeps; two that look at one job do the same thing
 * twice, and the second time changes nothing. It requeues and judges by the same code as the normal path.
 */
export class Sweep {
  readonly #parts: SweepParts;
  readonly #tasks: readonly PeriodicTask[];
  readonly #warn: (error: unknown) => void;
  /** Jobs that are being judged. */
  readonly #inHand = new Set<string>();

  constructor(parts: SweepParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `sweep: ${messageOf(error).slice(0, 300)}`),
    );
    const task = (action: () => Promise<number>) => new PeriodicTask(action, this.#warn, parts.everyMs);
    this.#tasks = SCHEDULES.map((name) => task(() => this.#lookAgainAfter(name)));
  }

  start(): void {
    for (const task of this.#tasks) task.start(this.#parts.everyMs);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#tasks.map((task) => task.stop()));
  }

  /**
   * Looks at one page of a schedule, and returns after how many ms to look again: soon where more is due, but
   * never at once, so that a flood of what is due leaves two thirds of the time to confirmations.
   */
  async #lookAgainAfter(name: ScheduleName): Promise<number> {
    const { everyMs } = this.#parts;
    const began = performance.now();
    const jobs = await this.look(name);
    return jobs < PAGE ? everyMs : Math.min(everyMs, Math.max(20, 2 * (performance.now() - began)));
  }

  /** One look at what is due in a schedule, at most 200 jobs; how many it was. */
  async look(name: ScheduleName): Promise<number> {
    const { redis, keys, schedules, decisions } = this.#parts;
    const { due } = await schedules.due(this.#setsOf(name), PAGE);
    const found = due.flatMap(({ set, ids }) => ids.map((id) => ({ set, id })));
    if (looked.hasSubscribers) looked.publish({ schedule: name, jobs: found.length });
    const files = await readCases(redis, keys, found);
    const gone = found.filter((_, at) => files[at] === undefined);
    const open = found.flatMap(({ set }, at): Due[] => {
      const file = files[at];
      return file === undefined ? [] : [{ set, file }];
    });
    const rulings = open.flatMap(({ file }) => overdue(file, name, this.#parts.mostLost) ?? []);
    if (name === 'deadlines') rulings.push(...(await this.#inVain(open)));
    const missed = new Set(rulings.flatMap(({ id, action }) => (isExpiry(action) ? [id] : [])));
    for (const { file } of open) if (missed.has(file.id)) this.#parts.learner.missed(file);
    if (name === 'deliveries') rulings.push(...(await this.#usedUp(open)));
    if (name === 'ready') rulings.push(...(await this.#takenBack(open)));
    // Before anything is done: what fails comes again, and never stands at the head for ever.
    const misplaced = await this.#postpone(name, open);
    if (name === 'confirmations')
      this.#beside(
        open.flatMap(({ file }) => (shouldJudge(file) ? [file] : [])),
        (all) => this.#judge(all),
      );
    // Each by itself: what one meets holds up no other.
    const results = await Promise.allSettled([
      decisions.rule(rulings),
      schedules.place(misplaced),
      ...gone.map(({ set, id }) => schedules.forget(set, [id])),
      ...(name === 'deliveries' ? this.#redeliveries(open) : []),
    ]);
    for (const result of results) if (result.status === 'rejected') this.#warn(result.reason);
    return found.length;
  }

  /** The sets of a schedule, beginning with another queue each time, so that none is always the last. */
  #setsOf(name: ScheduleName): string[] {
    const { keys } = this.#parts;
    if (name === 'deadlines') return [keys.open];
    if (name === 'confirmations') return [keys.confirmations];
    const queues = this.#parts.queues();
    const first = Math.floor(Math.random() * queues.length);
    const turned = [...queues.slice(first), ...queues.slice(0, first)];
    const setOf = { leases: keys.leases, deliveries: keys.released, ready: keys.ready }[name];
    return turned.map((queue) => setOf(queue));
  }

  /**
   * Ends what waits and would not end in time on any worker, by what such jobs have taken. Whoever releases
   * has left it out, and has it looked at before its deadline.
   */
  async #inVain(open: readonly Due[]): Promise<Ruling[]> {
    const { redis, keys } = this.#parts;
    const early = open.flatMap(({ file }) => (isOpen(file) && isEarly(file) ? [file] : []));
    const learned = new Map<string, SlotTimes>();
    for (const { queue } of early)
      if (!learned.has(queue)) learned.set(queue, keptIn(await redis.get(keys.learned(queue)), DEFAULT_HINT).times);
    return early.flatMap((file): Ruling[] => {
      const { task, params, inputBytes } = readTicket(file.id, file.ticket).ticket.predicate;
      const leastMs = learned.get(file.queue)?.leastMs({ task, maxTokens: params.max_tokens, inputBytes }) ?? 0;
      return file.deadlineMs - file.nowMs < leastMs ? [wouldNotFinish(file, leastMs)] : [];
    });
  }

  /** Says when to look at each job again, and returns those that are no longer of this schedule. */
  async #postpone(name: ScheduleName, open: readonly Due[]): Promise<Whereabouts[]> {
    const misplaced: Whereabouts[] = [];
    const times = new Map<string, [number, string][]>();
    for (const { set, file } of open) {
      // A confirmation that has its place in the log is decided: there is nothing to look for.
      const next = isOpen(file) ? nextLook(name, file) : undefined;
      if (next === undefined || (name === 'deadlines' && isEarly(file)))
        misplaced.push({ id: file.id, epoch: file.currentEpoch });
      // What is misplaced is placed in a moment; if that fails, it comes again.
      times.set(set, [...(times.get(set) ?? []), [next ?? file.nowMs + AGAIN_MS, file.id]]);
    }
    for (const [set, all] of times) await this.#parts.schedules.postpone(set, all);
    return misplaced;
  }

  /**
   * Judges beside the looks: a blob or a check that is slow holds up no deadline and no lost worker. A case
   * is in hand once.
   */
  #beside(files: readonly CaseFile[], work: (files: readonly CaseFile[]) => Promise<void>): void {
    const fresh = files.filter(({ id }) => !this.#inHand.has(id)).slice(0, MAX_IN_HAND - this.#inHand.size);
    if (fresh.length === 0) return;
    for (const { id } of fresh) this.#inHand.add(id);
    void work(fresh)
      .catch(this.#warn)
      .finally(() => {
        for (const { id } of fresh) this.#inHand.delete(id);
      });
  }

  /**
   * Judges what was committed and not heard of. Where the claimant did not sign what stands first, somebody
   * else wrote it: the claimant's own may stand beside it, and if its lease has run out without one, it is
   * lost.
   */
  async #judge(files: readonly CaseFile[]): Promise<void> {
    const { redis, keys, decisions } = this.#parts;
    const { ignored } = await decisions.judge(files);
    const silent: CaseFile[] = [];
    for (const file of ignored) {
      const args = [keys.prefix, file.id, file.epoch, file.field, MAX_BESIDE];
      const fields = await OTHER_COMMITS.run(redis, [keys.open], args);
      const refs = fields.map((field) => ({ id: file.id, epoch: file.epoch, field }));
      const beside = (await readCases(redis, keys, refs)).filter((one) => one?.statement.kind === 'stored');
      const found = await decisions.judge(beside.flatMap((one) => one ?? []));
      if (found.ignored.length === beside.length && file.leaseMs === 0) silent.push(file);
    }
    await decisions.rule(silent.map((file) => lostWorker(file, this.#parts.mostLost)));
  }

  /** Ends what was refuted and waits for a worker that may try, where all that are there have tried. */
  async #usedUp(open: readonly Due[]): Promise<Ruling[]> {
    const waiting = open.filter(
      ({ file }) => !file.ended && file.phase === 'queued' && overdue(file, 'deliveries') === undefined,
    );
    const ruled = waiting.map(async ({ file }): Promise<Ruling[]> => {
      const detail = lastRefutation(file);
      if (detail === undefined || !(await this.#parts.candidates.areUsedUp(file, false))) return [];
      const action = { kind: 'end', state: 'rejected' } as const;
      return [{ id: file.id, epoch: file.currentEpoch, phases: ['queued'], action, code: 'refuted', detail }];
    });
    return (await Promise.all(ruled)).flat();
  }

  /**
   * Takes back what a worker holds ready, where it has waited for a while and other places of engines are
   * free and find nothing else: as many as there are such places. It costs the job no attempt.
   */
  async #takenBack(open: readonly Due[]): Promise<Ruling[]> {
    const held = open.flatMap(({ file }) =>
      isOpen(file) && file.phase === 'ready' && file.currentEpoch <= MOST_TAKEN_BACK ? [file] : [],
    );
    const idle = new Map(await this.#parts.schedules.idle([...new Set(held.map(({ queue }) => queue))]));
    return held.flatMap((file): Ruling[] => {
      const free = idle.get(file.queue) ?? 0;
      if (free === 0 || overdue(file, 'ready') !== undefined) return [];
      idle.set(file.queue, free - 1);
      return [takenBack(file)];
    });
  }

  /** Compares what was released and not claimed with BullMQ, each queue by itself: workers can spoil one. */
  #redeliveries(open: readonly Due[]): Promise<void>[] {
    const { backlog, logger } = this.#parts;
    const byQueue = new Map<string, CaseFile[]>();
    for (const { file } of open)
      if (!file.ended && file.phase === 'queued' && overdue(file, 'deliveries') === undefined)
        byQueue.set(file.queue, [...(byQueue.get(file.queue) ?? []), file]);
    return [...byQueue].map(async ([queue, files]) => {
      const jobs = files.map(({ id, currentEpoch: afterEpoch }) => ({ id, afterEpoch }));
      const added = await backlog.redeliver(queue, jobs);
      if (added > 0) logger.warn({ queue, deliveries: added }, 'the queue had lost deliveries; they were added again');
    });
  }
}

interface SweepParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** The queues whose jobs are looked after now. */
  readonly queues: () => readonly string[];
  readonly backlog: Backlog;
  readonly schedules: Schedules;
  readonly decisions: Decisions;
  readonly candidates: Candidates;
  readonly learner: Learner;
  readonly everyMs: number;
  /** See `lostWorker`. */
  readonly mostLost: number;
  readonly logger: Logger;
}

/**
 * The ruling that an open job's time calls for, if any. A worker counts as lost only where its lease was
 * waited for: one that has just given its job back has none either.
 */
function overdue(file: CaseFile, schedule: ScheduleName, mostLost = MOST_LOST): Ruling | undefined {
  if (!isOpen(file)) return undefined;
  const { id, isPoolEmptied } = file;
  const about = { id, epoch: file.currentEpoch };
  const end = (state: 'cancelled' | 'expired', detail: string): Ruling => ({
    ...about,
    phases: [file.phase],
    action: { kind: 'end', state },
    code: state,
    detail,
  });
  switch (file.phase) {
    case 'queued':
    case 'ready':
      if (file.cancelAskedMs !== undefined) return cancellation({ ...about, isPoolEmptied });
      if (file.nowMs >= file.deadlineMs) return end('expired', waitedInVain(file));
      return file.phase === 'ready' && schedule === 'leases' && file.leaseMs === 0
        ? lostWorker(file, mostLost)
        : undefined;
    case 'running':
      if (file.nowMs >= file.deadlineMs + STOP_GRACE_MS)
        return end('expired', 'The deadline passed while the job ran.');
      if (file.leaseMs > 0 || schedule !== 'leases') return undefined;
      if (file.cancelAskedMs === undefined) return lostWorker(file, mostLost);
      return end('cancelled', isPoolEmptied ? EMPTIED_DETAIL : 'The worker that ran it was lost.');
    case 'attesting':
      if (file.cancelAskedMs !== undefined) return cancellation({ ...about, isPoolEmptied });
      if (file.nowMs >= file.deadlineMs + ATTEST_GRACE_MS)
        return end('expired', 'The deadline passed before the answer was confirmed.');
      return undefined;
  }
}

function isExpiry(action: Ruling['action']): boolean {
  return action.kind === 'end' && action.state === 'expired';
}

/** Whether it waits, and is looked at before its deadline: somebody doubts where it stands. */
function isEarly({ phase, cancelAskedMs, nowMs, deadlineMs }: CaseFile): boolean {
  return phase === 'queued' && cancelAskedMs === undefined && nowMs < deadlineMs;
}

/** The end of a job that waits, and is not begun in vain. */
function wouldNotFinish({ id, currentEpoch, deadlineMs, nowMs }: CaseFile, leastMs: number): Ruling {
  return {
    id,
    epoch: currentEpoch,
    phases: ['queued'],
    action: { kind: 'end', state: 'expired' },
    code: 'would_not_finish',
    detail: `It had ${deadlineMs - nowMs} ms left, and such jobs take ${Math.ceil(leastMs)} ms at the least.`,
  };
}

/** The claim of a worker that has not begun, ended so that another one may begin at once. */
function takenBack({ id, currentEpoch }: CaseFile): Ruling {
  return {
    id,
    epoch: currentEpoch,
    phases: ['ready'],
    action: { kind: 'close', why: 'void' },
    code: 'attempts_exhausted',
    detail: 'Another worker was free before this one could begin.',
  };
}

/** Whether the end of a job is not decided. */
function isOpen({ ended, logged }: CaseFile): boolean {
  return !ended && logged === undefined;
}

/** Why a job that waited when its deadline passed has no answer. */
function waitedInVain(file: CaseFile): string {
  const refuted = lastRefutation(file);
  return refuted === undefined
    ? 'The deadline passed before a worker was free.'
    : `The deadline passed before another worker was free; the last answer was refuted: ${refuted}`;
}

/** Evidence that is missing although it was announced: somebody squats; the claimant may still come. */
function shouldJudge(file: CaseFile): boolean {
  if (file.ended || file.logged !== undefined || file.phase !== 'attesting') return false;
  if (overdue(file, 'confirmations') !== undefined) return false;
  if (file.committedMs === undefined || file.nowMs - file.committedMs < CONFIRMATION_LOOK_MS) return false;
  return file.statement.kind !== 'missing' || file.leaseMs === 0;
}

/** When (ms) a schedule is to look at an open job again; undefined where it is no longer one of its jobs. */
function nextLook(schedule: ScheduleName, file: CaseFile): number | undefined {
  const { phase, nowMs, deadlineMs, leaseMs } = file;
  switch (schedule) {
    case 'deadlines': {
      const grace = { queued: 0, ready: 0, running: STOP_GRACE_MS, attesting: ATTEST_GRACE_MS }[phase];
      return deadlineMs + grace > nowMs ? deadlineMs + grace : nowMs + AGAIN_MS;
    }
    case 'leases':
      return phase === 'running' || phase === 'ready'
        ? nowMs + Math.min(leaseMs === 0 ? AGAIN_MS : leaseMs + 20, LONGEST_LEASE_MS)
        : undefined;
    case 'deliveries':
      return phase === 'queued' ? nowMs + DELIVERY_AGAIN_MS : undefined;
    case 'ready':
      return phase === 'ready' ? nowMs + READY_LOOK_MS : undefined;
    case 'confirmations':
      return phase === 'attesting' ? nowMs + CONFIRMATION_LOOK_MS : undefined;
  }
}

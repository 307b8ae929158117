import { count } from '../../ground/metrics/process-metrics.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { EMPTIED_DETAIL } from '../backlog/pool-state.ts';
import type { Aside } from './aside.ts';
import type { CaseFile } from './case-file.ts';
import { tellWait } from './case-spans.ts';
import type { Confirmation } from './confirmation.ts';
import type { Judge, Judged, Judgement } from './judge.ts';
import type { Learner } from './learner.ts';
import { RECOMPUTE_QUEUE, type RecomputeQueue } from './recompute-queue.ts';
import type { Ruling, Rulings } from './rulings.ts';
import type { Sealer } from './sealer.ts';
import type { Sequencer } from './sequencer.ts';
import type { ServiceTimes } from './service-times.ts';

interface DecisionParts {
  readonly judge: Judge;
  readonly rulings: Rulings;
  readonly sequencer: Sequencer;
  readonly recomputations: RecomputeQueue;
  readonly sealer: Sealer;
  readonly aside: Aside;
  readonly serviceTimes: ServiceTimes;
  readonly learner: Learner;
  readonly logger: Logger;
}

/** What became of cases that were judged. */
export interface Outcome {
  /** Cases in which the claimant has signed nothing that is stored. */
  readonly ignored: readonly CaseFile[];
  /** Cases that wait for the slower methods, or were put aside; they come again by themselves. */
  readonly pending: readonly CaseFile[];
  /** The jobs that were confirmed. */
  readonly confirmed: ReadonlySet<string>;
}

/**
 * Judges cases and applies what comes of it, by the same code for what was announced and for what was found.
 * Each case is judged by itself: one that fails is put aside and holds up no other. Any number of callers at
 * once.
 */
export class Decisions {
  readonly #parts: DecisionParts;

  constructor(parts: DecisionParts) {
    this.#parts = parts;
  }

  /**
   * Judges cases and decides them, or hands them to the slower methods. Those that are aside are passed over:
   * they come at the time of their next try. Throws while the log takes no entries: nothing is judged then.
   */
  async judge(files: readonly CaseFile[]): Promise<Outcome> {
    return this.judgeAgain(await this.#parts.aside.without(files));
  }

  /** As `judge`, for cases whose next try it is. */
  async judgeAgain(files: readonly CaseFile[]): Promise<Outcome> {
    if (!this.#parts.sequencer.hasRoom()) throw new Error('The log takes no entries now; nothing is judged.');
    const judgements = await Promise.all(
      files.map(
        async (file): Promise<{ file: CaseFile; judgement: Judgement } | { file: CaseFile; error: unknown }> => {
          tellWait(file);
          try {
            return { file, judgement: await this.#parts.judge.judgeQuickly(file) };
          } catch (error) {
            return { file, error };
          }
        },
      ),
    );
    crashPoint('attestor.after-checks');
    const failed = judgements.flatMap((one) => ('error' in one ? [{ id: one.file.id, error: one.error }] : []));
    await this.#parts.aside.put(failed);
    const judged = judgements.flatMap((one) => ('judgement' in one ? [one] : []));
    const slow = judged.filter(({ judgement }) => judgement.kind === 'slow');
    if (slow.length > 0) {
      await this.#parts.recomputations.add(
        RECOMPUTE_QUEUE,
        slow.map(({ file: { id, epoch, field, tenant, cost } }) => ({
          name: `${id}-${epoch}`,
          data: { id, epoch, field },
          tenant,
          cost,
        })),
      );
    }
    await this.decide(judged.flatMap(({ judgement }) => (isDecided(judgement) ? [judgement] : [])));
    return {
      ignored: judged.flatMap(({ file, judgement }) => (judgement.kind === 'ignored' ? [file] : [])),
      confirmed: new Set(judged.flatMap(({ file, judgement }) => (judgement.kind === 'confirmed' ? [file.id] : []))),
      pending: judgements.flatMap((one) => ('error' in one || one.judgement.kind === 'slow' ? [one.file] : [])),
    };
  }

  /** Gives confirmations their places in the log, and applies the other rulings. */
  async decide(judged: readonly Judged[]): Promise<void> {
    const rulings = judged.flatMap((one) => (one.kind === 'rule' ? [one.ruling] : []));
    const confirmations = judged.flatMap((one) => (one.kind === 'confirmed' ? [one.confirmation] : []));
    await Promise.all([this.rule(rulings), this.#place(confirmations)]);
  }

  /** Applies rulings, but none about a job that the log has confirmed and Redis has lost. */
  async rule(all: readonly Ruling[]): Promise<void> {
    const { sequencer } = this.#parts;
    if (all.length === 0) return;
    const lost = await sequencer.lost(all.map(({ id }) => id));
    const rulings = all.filter(({ id }) => !lost.has(id));
    if (rulings.length === 0) return;
    const replies = await this.#parts.rulings.apply(rulings);
    // Of several attestors that found the same lease run out, one is told that its ruling was carried out.
    rulings.forEach(({ id, epoch, action }, at) => {
      const kind = replies[at]?.kind;
      if (action.kind !== 'lost' || (kind !== 'requeued' && kind !== 'ended')) return;
      count('countersign_lost_leases_total');
      this.#parts.logger.info({ job: id, epoch, outcome: kind }, 'a lease ran out: the worker was lost');
    });
    if (replies.some(({ kind }) => kind === 'ended')) this.#parts.sealer.wake();
    crashPoint('attestor.after-rule');
  }

  async #place(confirmations: readonly Confirmation[]): Promise<void> {
    if (confirmations.length === 0) return;
    for (const confirmation of confirmations) {
      this.#parts.serviceTimes.note(confirmation.file.queue, confirmation.tookMs);
      this.#parts.learner.confirmed(confirmation);
    }
    await this.#parts.sequencer.place(confirmations);
    crashPoint('attestor.after-sequence');
  }
}

function isDecided(judgement: Judgement): judgement is Judged {
  return judgement.kind === 'rule' || judgement.kind === 'confirmed';
}

/** The end of a job that somebody asked to stop and that nobody runs. */
export function cancellation(about: Pick<CaseFile, 'id' | 'epoch' | 'isPoolEmptied'>): Ruling {
  return {
    id: about.id,
    epoch: about.epoch,
    phases: ['queued', 'ready', 'attesting'],
    action: { kind: 'end', state: 'cancelled' },
    code: 'cancelled',
    detail: about.isPoolEmptied ? EMPTIED_DETAIL : 'Nobody was running it any more.',
  };
}

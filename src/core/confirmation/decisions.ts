import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { CaseFile } from './case-file.ts';
import type { Confirmation } from './confirmation.ts';
import type { Judge, Judged, Judgement } from './judge.ts';
import { RECOMPUTE_QUEUE, type RecomputeQueue } from './recompute-queue.ts';
import type { Ruling, Rulings } from './rulings.ts';
import type { Sealer } from './sealer.ts';
import type { Sequencer } from './sequencer.ts';

interface DecisionParts {
  readonly judge: Judge;
  readonly rulings: Rulings;
  readonly sequencer: Sequencer;
  readonly recomputations: RecomputeQueue;
  readonly sealer: Sealer;
  readonly logger: Logger;
}

/** What became of cases that were judged. */
export interface Outcome {
  /** Cases in which the claimant has signed nothing that is stored. */
  readonly ignored: readonly CaseFile[];
  /** Cases that could not be judged now, each for a reason of its own; they come again. */
  readonly failed: readonly CaseFile[];
}

/**
 * Judges cases and applies what comes of it, by the same code for what was announced and for what was found.
 * Each case is judged by itself: one that fails holds up no other. Any number of callers at once.
 */
export class Decisions {
  readonly #parts: DecisionParts;
  readonly #warn: (error: unknown) => void;

  constructor(parts: DecisionParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `a case cannot be judged now: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /**
   * Judges cases and decides them, or hands them to the slower methods. While the log takes no entries,
   * nothing is judged.
   */
  async judge(files: readonly CaseFile[]): Promise<Outcome> {
    if (!this.#parts.sequencer.hasRoom()) return { ignored: [], failed: files };
    const judgements = await Promise.all(
      files.map(async (file): Promise<{ file: CaseFile; judgement: Judgement | undefined }> => {
        try {
          return { file, judgement: await this.#parts.judge.judgeQuickly(file) };
        } catch (error) {
          this.#warn(error);
          return { file, judgement: undefined };
        }
      }),
    );
    crashPoint('attestor.after-checks');
    const slow = judgements.filter(({ judgement }) => judgement?.kind === 'slow');
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
    await this.decide(judgements.flatMap(({ judgement }) => (isDecided(judgement) ? [judgement] : [])));
    return {
      ignored: judgements.flatMap(({ file, judgement }) => (judgement?.kind === 'ignored' ? [file] : [])),
      failed: judgements.flatMap(({ file, judgement }) => (judgement === undefined ? [file] : [])),
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
    const lost = await Promise.all(all.map(({ id }) => sequencer.hasLost(id)));
    const rulings = all.filter((_, at) => lost[at] === false);
    if (rulings.length === 0) return;
    const replies = await this.#parts.rulings.apply(rulings);
    if (replies.some(({ kind }) => kind === 'ended')) this.#parts.sealer.wake();
    crashPoint('attestor.after-rule');
  }

  async #place(confirmations: readonly Confirmation[]): Promise<void> {
    if (confirmations.length === 0) return;
    await this.#parts.sequencer.place(confirmations);
    crashPoint('attestor.after-sequence');
  }
}

function isDecided(judgement: Judgement | undefined): judgement is Judged {
  return judgement?.kind === 'rule' || judgement?.kind === 'confirmed';
}

/** The end of a job that somebody asked to stop and that nobody runs. */
export function cancellation(about: { id: string; epoch: number }): Ruling {
  return {
    id: about.id,
    epoch: about.epoch,
    phases: ['queued', 'attesting'],
    action: { kind: 'end', state: 'cancelled' },
    code: 'cancelled',
    detail: 'Nobody was running it any more.',
  };
}

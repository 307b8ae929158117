import { channel } from 'node:diagnostics_channel';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Aside } from './aside.ts';
import type { CaseFile } from './case-file.ts';
import type { Judge, Judgement } from './judge.ts';
import { RECOMPUTE_QUEUE, type RecomputeQueue } from './recompute-queue.ts';
import type { Ruling, RulingReply, Rulings } from './rulings.ts';
import type { Sequencer } from './sequencer.ts';

/** Published for each ruling that was applied or refused: `{ ruling, reply }`. */
export const ruled = channel('countersign.attestor.ruled');

interface DecisionParts {
  readonly judge: Judge;
  readonly rulings: Rulings;
  readonly sequencer: Sequencer;
  readonly recomputations: RecomputeQueue;
  readonly aside: Aside;
}

/** What became of cases that were judged. */
export interface Judged {
  /** Cases in which the claimant has signed nothing that is stored. */
  readonly ignored: readonly CaseFile[];
  /** Cases that wait for the slower methods, or were put aside; they come again by themselves. */
  readonly pending: readonly CaseFile[];
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
   * Judges cases and rules on them, or hands them to the slower methods. Those that are aside are passed
   * over: they come at the time of their next try.
   */
  async judge(files: readonly CaseFile[]): Promise<Judged> {
    return this.judgeAgain(await this.#parts.aside.without(files));
  }

  /** As `judge`, for cases whose next try it is. */
  async judgeAgain(files: readonly CaseFile[]): Promise<Judged> {
    const judgements = await Promise.all(
      files.map(
        async (file): Promise<{ file: CaseFile; judgement: Judgement } | { file: CaseFile; error: unknown }> => {
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
    await this.rule(judged.flatMap(({ judgement }) => (judgement.kind === 'rule' ? [judgement.ruling] : [])));
    return {
      ignored: judged.flatMap(({ file, judgement }) => (judgement.kind === 'ignored' ? [file] : [])),
      pending: judgements.flatMap((one) => ('error' in one || one.judgement.kind === 'slow' ? [one.file] : [])),
    };
  }

  /**
   * Ends jobs whose confirmation has its place in the log: `done`, whatever became of the job since. Resolves
   * when a published checkpoint holds them.
   */
  async finish(files: readonly CaseFile[]): Promise<void> {
    const rulings = files.flatMap(({ id, logged }) =>
      logged === undefined ? [] : [{ ...confirmation(id, logged), logged }],
    );
    const sizes = await Promise.all(rulings.map(({ logged }) => this.#parts.sequencer.sizeBeyond(logged.index)));
    await this.#apply(rulings.map(({ logged: _, ...ruling }, at) => ({ ...ruling, logSize: sizes[at] ?? 0 })));
  }

  /** Applies rulings: confirmations when their verdicts stand in the log, the others at once. */
  async rule(rulings: readonly Ruling[]): Promise<void> {
    const confirmations = rulings.filter(({ action }) => action.kind === 'end' && action.state === 'done');
    const others = rulings.filter((ruling) => !confirmations.includes(ruling));
    await Promise.all([this.#apply(others), this.#log(confirmations).then((logged) => this.#apply(logged))]);
  }

  async #log(confirmations: readonly Ruling[]): Promise<Ruling[]> {
    const verdicts = confirmations.flatMap(({ id, epoch, verdict }) =>
      verdict === undefined ? [] : [{ id, epoch, field: verdict.field, verdict: verdict.signed }],
    );
    const sizes = await this.#parts.sequencer.log(verdicts);
    return confirmations.flatMap((ruling, index) => {
      const logSize = sizes[index];
      return logSize === undefined ? [] : [{ ...ruling, logSize }];
    });
  }

  async #apply(rulings: readonly Ruling[]): Promise<void> {
    if (rulings.length === 0) return;
    const replies = await this.#parts.rulings.apply(rulings);
    crashPoint('attestor.after-rule');
    publish(rulings, replies);
  }
}

/** The end of a job whose verdict about this epoch stands in the log. */
export function confirmation(id: string, { epoch }: { readonly epoch: number }): Ruling {
  return {
    id,
    epoch,
    phases: ['attesting'],
    action: { kind: 'end', state: 'done' },
    code: 'confirmed',
    detail: 'The attestor confirmed the answer.',
  };
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

function publish(rulings: readonly Ruling[], replies: readonly RulingReply[]): void {
  if (!ruled.hasSubscribers) return;
  rulings.forEach((ruling, index) => ruled.publish({ ruling, reply: replies[index] }));
}

import type { EngineModel } from '../../engines/engine-kind.ts';
import type { Params, Policy } from '../../../proof/receipts/statements.ts';
import type { Task } from '../../../proof/receipts/fields.ts';
import type { Feature } from '../../../proof/tasks/task-input.ts';
import type { Bar } from '../refusal.ts';
import type { Attempt } from './attempt.ts';
import type { Equipment, ModelName, PooledModel } from './equipment.ts';

/**
 * When the judge makes a check. `first` and `last` take moments: `first` decides whether an attempt is worth
 * the slow checks, `last` rests on what they found. A `slow` check can take an engine's run, and waits in a
 * queue of its own.
 */
export const STAGES = ['first', 'slow', 'last'] as const;
type Stage = (typeof STAGES)[number];

/** Fields of a verdict. The verdict's schema says which there can be. */
export type VerdictFields = Readonly<Record<string, unknown>>;

/** What one method found of one attempt. What is absent is empty. */
export interface Finding<Word extends string = string> {
  /**
   * Why nothing was committed at all: the claimant did not sign this for this attempt. Nobody is blamed for
   * it, and the lease runs on.
   */
  readonly ignored?: string;
  /**
   * Why the attempt is refuted: stable words of this method, named in the verdict. What is held against a
   * worker carries its signature: what merely stands beside its evidence, others can have written.
   */
  readonly refusals?: readonly string[];
  /** What the attestor vouches for. */
  readonly properties?: readonly Word[];
  /** What a confirmation owns up to. */
  readonly notChecked?: readonly string[];
  /** What was measured. The verdict says it whatever is decided. */
  readonly measured?: VerdictFields;
  /** What a confirmation rests on. A refutation does not say it. */
  readonly grounds?: VerdictFields;
  /** What becomes of an attempt that holds and yet is no confirmation by itself. */
  readonly instead?: {
    readonly action:
      | { readonly kind: 'close'; readonly why: 'voted' | 'released' | 'void' }
      | { readonly kind: 'end'; readonly state: 'failed' };
    readonly code: string;
    readonly detail: string;
  };
}

/** What becomes of an attempt whose output or tokens are gone: another one, and nobody is blamed. */
export const GONE: Finding<never> = {
  instead: {
    action: { kind: 'close', why: 'released' },
    code: 'attempts_exhausted',
    detail: 'What the worker handed in is gone.',
  },
};

/** What becomes of an attempt of a worker that may not work: another one, and this one is not counted. */
export const notCounted = (bar: Bar): Finding<never> => ({
  instead: { action: { kind: 'close', why: 'void' }, code: 'attempts_exhausted', detail: bar },
});

/** What a caller asks for, before it is a job. */
export interface Question {
  readonly model: EngineModel;
  readonly policy: Policy;
  readonly task: Task;
  readonly params: Pick<Params, 'temperature' | 'top_p'>;
  /** What the input asks for beyond text. */
  readonly features: readonly Feature[];
}

/** Who is heard of now. */
export interface Heard {
  /**
   * Whether an attestor serves this method for this model; true while no attestor is heard of: jobs are kept
   * for one.
   */
  isServed(method: string, model: ModelName): Promise<boolean>;
  workersOf(model: PooledModel): Promise<number>;
  /** How many operators are enrolled for its pool, by the attestors; undefined where none says. */
  operatorsOf(model: PooledModel): Promise<number | undefined>;
}

export type Offered = { readonly isOffered: true } | { readonly isOffered: false; readonly why: string };
export const OFFERED: Offered = { isOffered: true };

/**
 * One way to confirm an answer. One file holds one method; `methods.ts` has the list. What a receipt of it
 * must show is in `proof/receipts/promises`.
 */
export interface Method<Word extends string = string> {
  readonly name: string;
  readonly stage: Stage;
  /**
   * Whether an attestor with this equipment serves it for this model, or what is missing. Without it, every
   * attestor does.
   */
  offeredBy?(equipment: Equipment, model: ModelName): Offered;
  /**
   * For the caller: why what the question promises of this method cannot be kept now; undefined where it can.
   */
  unavailable?(question: Question, heard: Heard): Promise<string | undefined>;
  /**
   * Whether this attempt is checked so. `found` are the properties that other methods have found in earlier
   * stages.
   */
  isDrawn(attempt: Attempt, found: ReadonlySet<string>): boolean;
  /**
   * Checks one attempt that was drawn. Throws where this attestor lacks what it takes or its engine fails;
   * the case is then another attestor's, or for later.
   */
  check(attempt: Attempt, signal: AbortSignal): Promise<Finding<Word>>;
  /** What a verdict says of an attempt that was not drawn. */
  undrawn?(attempt: Attempt): Pick<Finding, 'notChecked' | 'measured'>;
}

import { VERIFICATION_STEPS, type VerificationStep } from '../../proof/receipts/verification-steps.ts';

/** What became of one check. What was skipped was not checked, and never counts as passed. */
export interface TranscriptLine {
  readonly result: 'PASS' | 'FAIL' | 'SKIP';
  readonly step: VerificationStep;
  /** The sentence of `docs/receipt-format.md` that asks for this check. */
  readonly sentence: string;
  /** Why it was skipped, why it failed, or how it passed. */
  readonly note?: string;
}

const STEPS = Object.keys(VERIFICATION_STEPS) as VerificationStep[];
const OPTIONAL: Partial<Record<VerificationStep, string>> = {
  input: 'no input and no request was given to compare',
  output: 'no output, response or output file of a batch was given to compare',
  checkpoint:
    'no checkpoint that you or a witness kept was given: whether the log has shown others another history is not known',
  standing: 'no list of workers was given: whether the key of the worker was stolen since is not known',
};

/** Notes the steps of one verification, of which each has one line, in the order of the specification. */
export class Transcript {
  readonly #passed = new Map<VerificationStep, string | undefined>();
  readonly #skipped = new Map<VerificationStep, string>();
  #failed: { readonly step: VerificationStep; readonly note: string } | undefined;

  readonly pass = (step: VerificationStep, note?: string): void => {
    this.#passed.set(step, note);
  };

  /** What was given for this step could not be compared. */
  skip(step: VerificationStep, note: string): void {
    this.#skipped.set(step, note);
  }

  /** At this step, or else at the first that has not passed and needs nothing from its holder. */
  fail(note: string, at?: VerificationStep): void {
    const step = at ?? STEPS.find((one) => !this.#passed.has(one) && !(one in OPTIONAL));
    this.#failed = { step: step ?? 'standing', note };
  }

  noteOf(step: VerificationStep): string | undefined {
    return this.#passed.get(step);
  }

  get lines(): TranscriptLine[] {
    return STEPS.map((step) => {
      const sentence = VERIFICATION_STEPS[step];
      if (this.#failed?.step === step) return { result: 'FAIL', step, sentence, note: this.#failed.note };
      if (!this.#passed.has(step)) {
        const note = this.#failed === undefined ? (this.#skipped.get(step) ?? OPTIONAL[step]) : 'not reached';
        return { result: 'SKIP', step, sentence, note: note ?? 'not reached' };
      }
      const note = this.#passed.get(step);
      return { result: 'PASS', step, sentence, ...(note === undefined ? {} : { note }) };
    });
  }
}

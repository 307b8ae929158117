import { PROMISES } from './promises/promises.ts';
import { Verdict } from './statements.ts';

/** How a done job was confirmed, by the names of promises; `docs/attestation.md` says what each is. */
export interface HowConfirmed {
  /** What the attestor checked; `binding` always. */
  readonly confirmed_by: string[];
  /** What it owns up to not having checked. */
  readonly not_checked: string[];
}

/** Of a job that is not done, or whose verdict does not read as one of this version. */
const UNKNOWN = { confirmed_by: null, not_checked: null } as const;

/**
 * How the payload of a verdict says that its job was confirmed; both members are null where there is none, or
 * none that confirms. It reads, and verifies nothing: whoever must be sure verifies the receipt.
 */
export function howConfirmed(payload: Uint8Array | undefined): HowConfirmed | typeof UNKNOWN {
  const predicate = payload && verdictOf(payload);
  if (predicate?.decision !== 'confirmed') return UNKNOWN;
  return {
    confirmed_by: PROMISES.kept(new Set(predicate.properties)),
    not_checked: PROMISES.left(predicate, new Set(predicate.notChecked)),
  };
}

function verdictOf(payload: Uint8Array): Verdict['predicate'] | undefined {
  try {
    return Verdict.parse(JSON.parse(Buffer.from(payload).toString('utf8'))).predicate;
  } catch {
    return undefined;
  }
}

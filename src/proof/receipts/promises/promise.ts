import type { z } from 'zod';
import type { EVIDENCE_FIELDS, Task } from '../fields.ts';

/** Fields of a document, by name, each with its schema. */
export type Shape = Readonly<Record<string, z.ZodType>>;
type Fields<Of extends Shape> = z.output<z.ZodObject<Of>>;

/** What one promise reads of a receipt: its own fields of the three documents, and what all promises need. */
export interface PromisedReceipt<Policy extends Shape, Evidence extends Shape, Verdict extends Shape> {
  readonly task: Task;
  readonly policy: Fields<Policy>;
  readonly evidence: Fields<typeof EVIDENCE_FIELDS> & Fields<Evidence>;
  readonly evidenceSha256: string;
  readonly verdict: { readonly epoch: number; readonly timeCreated: string } & Fields<Verdict>;
  readonly properties: ReadonlySet<string>;
  readonly notChecked: ReadonlySet<string>;
}

/**
 * What a ticket can promise of a confirmation, and what a receipt must show for it. One file holds one
 * promise: its fields in the policy, the evidence and the verdict, its words, and the comparison of what was
 * promised with what was done. The method that keeps it is in `core/attestation/methods`.
 */
export interface ReceiptPromise<
  Policy extends Shape = Shape,
  Evidence extends Shape = Shape,
  Verdict extends Shape = Shape,
  Word extends string = string,
> {
  readonly name: string;
  /** The fields of the ticket's policy by which it is asked for. */
  readonly policy: Policy;
  /** For callers: what its fields of the policy mean. */
  readonly description?: string;
  /** What a worker adds to its evidence, so that the promise can be kept. */
  readonly evidence: Evidence;
  /** What the verdict says of it. */
  readonly verdict: Verdict;
  /** What an attestor can vouch for by it; each word names exactly one thing. */
  readonly properties: readonly Word[];
  /** What a verdict must own up to where it was not kept and need not be. */
  readonly notChecked: readonly string[];
  /** In one sentence, why the receipt breaks this promise; undefined where it keeps it. */
  broken(receipt: PromisedReceipt<Policy, Evidence, Verdict>): string | undefined;
  /** Which part of its price a job with this policy pays; without it, the promise has no price. */
  share?(policy: Fields<Policy>): number;
  /** The most runs of a worker that a policy may take; one where it is absent. */
  runs?(policy: Fields<Policy>): number;
  /** Whether the verdict says by its fields, and by no word, that it was promised in part and not drawn. */
  isLeftOut?(verdict: Fields<Verdict>): boolean;
  /** The runs that are paid, by the verdict; one where it is absent. */
  paidRuns?(verdict: Fields<Verdict>): number;
  /** Whether no worker may see what another one answered. */
  isSealed?(policy: Fields<Policy>): boolean;
  /** Whether the worker must hand in the token ids of its answer. */
  needsTokens?(policy: Fields<Policy>): boolean;
}

/** Keeps the types of a promise's fields, so that they need not be written out. */
export function definePromise<
  Policy extends Shape,
  Evidence extends Shape,
  Verdict extends Shape,
  const Word extends string,
>(promise: ReceiptPromise<Policy, Evidence, Verdict, Word>): ReceiptPromise<Policy, Evidence, Verdict, Word> {
  return promise;
}

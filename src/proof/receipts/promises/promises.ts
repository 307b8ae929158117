import { binding } from './binding.ts';
import type { PromisedReceipt, ReceiptPromise, Shape } from './promise.ts';
import { quorum } from './quorum.ts';
import { recompute } from './recompute.ts';
import { tee } from './tee.ts';
import { tokens } from './tokens.ts';
import { usage } from './usage.ts';
import { weights } from './weights.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * The promises that receipts are verified by, in the order in which documents name their fields. Documents
 * are strict: a field or word that belongs to none of these promises is refused.
 */
export class Promises<Policy extends Shape, Evidence extends Shape, Verdict extends Shape, Word extends string> {
  readonly policy: Policy;
  readonly evidence: Evidence;
  readonly verdict: Verdict;
  readonly properties: readonly Word[];
  readonly notChecked: readonly string[];
  readonly #all: readonly ReceiptPromise[];

  private constructor(
    all: readonly ReceiptPromise[],
    fields: { policy: Policy; evidence: Evidence; verdict: Verdict },
    words: { properties: readonly Word[]; notChecked: readonly string[] },
  ) {
    this.#all = all;
    this.policy = fields.policy;
    this.evidence = fields.evidence;
    this.verdict = fields.verdict;
    this.properties = words.properties;
    this.notChecked = words.notChecked;
  }

  /** One promise, to which `with` adds. */
  static of<P extends Shape, E extends Shape, V extends Shape, W extends string>(
    promise: ReceiptPromise<P, E, V, W>,
  ): Promises<P, E, V, W> {
    return new Promises([promise], promise, promise);
  }

  /**
   * These promises and one more. Throws where it takes a field or a word of another: it could make that one
   * looser.
   */
  with<P extends Shape, E extends Shape, V extends Shape, W extends string>(
    promise: ReceiptPromise<P, E, V, W>,
  ): Promises<Policy & P, Evidence & E, Verdict & V, Word | W> {
    requireApart(promise.name, namesOf(this), namesOf(promise));
    return new Promises(
      [...this.#all, promise],
      {
        policy: { ...this.policy, ...promise.policy },
        evidence: { ...this.evidence, ...promise.evidence },
        verdict: { ...this.verdict, ...promise.verdict },
      },
      {
        properties: [...this.properties, ...promise.properties],
        notChecked: [...this.notChecked, ...promise.notChecked],
      },
    );
  }

  /** In one sentence, which promise a receipt breaks first; undefined where it keeps all. */
  broken(receipt: PromisedReceipt<Shape, Shape, Shape>): string | undefined {
    for (const promise of this.#all) {
      const why = promise.broken(receipt);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** The names of the promises of which these words of a verdict say something. */
  kept(properties: ReadonlySet<string>): string[] {
    return this.#all.filter((promise) => promise.properties.some((word) => properties.has(word))).map(nameOf);
  }

  /** The names of the promises of which a verdict owns up that it did not check them. */
  left(verdict: Fields, notChecked: ReadonlySet<string>): string[] {
    return this.#all
      .filter(
        (promise) => promise.notChecked.some((word) => notChecked.has(word)) || promise.isLeftOut?.(verdict) === true,
      )
      .map(nameOf);
  }

  /** For callers: what the fields of a policy mean. */
  describe(): string {
    return this.#all.flatMap(({ description }) => description ?? []).join('; ');
  }

  /** The promises that have a price, and which part of it a job with this policy pays. */
  shares(policy: Fields): { readonly name: string; readonly share: number }[] {
    return this.#all.flatMap((promise) =>
      promise.share === undefined ? [] : [{ name: promise.name, share: promise.share(policy) }],
    );
  }

  /** The names of the promises that have a price. */
  priced(): string[] {
    return this.#all.filter((promise) => promise.share !== undefined).map(({ name }) => name);
  }

  /** The most runs of a worker that a policy may take. */
  runs(policy: Fields): number {
    return Math.max(1, ...this.#all.map((promise) => promise.runs?.(policy) ?? 1));
  }

  /** The runs that are paid, by the verdict. */
  paidRuns(verdict: Fields): number {
    return Math.max(1, ...this.#all.map((promise) => promise.paidRuns?.(verdict) ?? 1));
  }

  /** Whether no worker may see what another one answered. */
  isSealed(policy: Fields): boolean {
    return this.#all.some((promise) => promise.isSealed?.(policy) === true);
  }

  /** Whether the worker must hand in the token ids of its answer. */
  needsTokens(policy: Fields): boolean {
    return this.#all.some((promise) => promise.needsTokens?.(policy) === true);
  }
}

const nameOf = ({ name }: ReceiptPromise): string => name;

type Named = Pick<ReceiptPromise, 'policy' | 'evidence' | 'verdict' | 'properties' | 'notChecked'>;

function namesOf({ policy, evidence, verdict, properties, notChecked }: Named): string[] {
  const fields = (document: string, shape: Shape) => Object.keys(shape).map((name) => `${document}.${name}`);
  return [
    ...fields('policy', policy),
    ...fields('evidence', evidence),
    ...fields('verdict', verdict),
    ...properties,
    ...notChecked,
  ];
}

function requireApart(promise: string, taken: readonly string[], own: readonly string[]): void {
  const twice = own.find((name) => taken.includes(name));
  if (twice !== undefined) throw new Error(`The promise ${promise} takes ${twice}, which belongs to another one.`);
}

/** All promises of this version. */
export const PROMISES = Promises.of(binding)
  .with(recompute)
  .with(weights)
  .with(tokens)
  .with(usage)
  .with(quorum)
  .with(tee);

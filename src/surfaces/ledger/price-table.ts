import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import { runPrice } from '../../proof/receipts/charge.ts';
import { Params, type Policy, type Price } from '../../proof/receipts/statements.ts';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { Task } from '../../proof/receipts/fields.ts';

const Amount = z.number().int().min(0).max(1_000_000_000_000);

/**
 * Prices of a model, in millionths of the currency: `input` and `output` per million tokens, the rest each.
 */
const ModelPrice = z.strictObject({
  input: Amount,
  output: Amount.default(0),
  second: Amount.default(0),
  /** Seconds of a worker beyond this are not charged. */
  maxSeconds: z.number().int().min(1).max(86_400).default(60),
  /** By the name of the promise. */
  attestation: z
    .strictObject(Object.fromEntries(PROMISES.priced().map((name) => [name, Amount.default(0)])))
    .prefault({}),
});

const PriceFile = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  currency: z.string().regex(/^[A-Z]{3,8}$/),
  models: z.record(z.string(), ModelPrice),
});

/** A job before it is admitted, as far as its price depends on it. */
export interface Work {
  readonly model: string;
  readonly task: Task;
  readonly params: Params;
  readonly policy: Policy;
  readonly inputBytes: number;
}

/**
 * A chat template may add this many tokens; the attestor accepts no more than bytes plus this for an input.
 */
const TEMPLATE_TOKENS = 64;
/** As many runs as a quorum can have. */
const MAX_RUNS = 5;

/**
 * The most that a ticket can hold for one job, in millionths. Sums of them are counted up to 2^53, beyond
 * which nothing is admitted.
 */
const MAX_HOLD = 1_000_000_000_000_000;

/** The most that any job of a model can come to: the longest question and answer, every run, every method. */
function mostOf(own: z.infer<typeof ModelPrice>): number {
  const { max_tokens } = Params.shape;
  const run = runPrice(own, MAX_INPUT_BYTES + TEMPLATE_TOKENS, max_tokens.maxValue ?? 0, own.maxSeconds);
  const methods = Object.values(own.attestation).reduce((sum, price) => sum + price, 0);
  return Math.ceil(PROMISES.runs({ quorum: { of: MAX_RUNS, agree: MAX_RUNS } }) * run + methods);
}

/**
 * The operator's prices; those that `follow` took last. A model that is not in the table is free. Any number
 * of callers may share it.
 */
export class PriceTable {
  #file: z.infer<typeof PriceFile> | undefined;
  #sha256: string;

  private constructor(text: string, file: z.infer<typeof PriceFile> | undefined) {
    this.#file = file;
    this.#sha256 = sha256Hex(text);
  }

  /** The table without which nothing costs anything. */
  static free(): PriceTable {
    return new PriceTable('', undefined);
  }

  /** The table of a file. Throws CodedError `prices_invalid`, which names every mistake. */
  static read(path: string): PriceTable {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw new CodedError('prices_invalid', `${path} cannot be read: ${messageOf(cause)}.`, { cause });
    }
    return PriceTable.parse(text, path);
  }

  /** The table of a file's text; `name` begins the error. Throws as `read`. */
  static parse(text: string, name: string): PriceTable {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw new CodedError('prices_invalid', `${name} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
    }
    const parsed = PriceFile.safeParse(json);
    if (!parsed.success) {
      const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
      throw new CodedError('prices_invalid', `${name}: ${problems.join('; ')}`);
    }
    const problems = Object.entries(parsed.data.models).flatMap(([model, own]) => {
      const most = mostOf(own);
      return most <= MAX_HOLD ? [] : [`models.${model}: a job may come to ${most}, and only ${MAX_HOLD} can be held`];
    });
    if (problems.length > 0) throw new CodedError('prices_invalid', `${name}: ${problems.join('; ')}`);
    return new PriceTable(text, parsed.data);
  }

  /** Throws CodedError `prices_invalid` where the other table is in another currency: books are in one. */
  requireFollows(other: PriceTable): void {
    if (other.currency !== this.currency)
      throw new CodedError('prices_invalid', `The prices are in ${this.currency}, and the books are kept in it.`);
  }

  /** Goes by the prices of the other table from now on: a ticket keeps those that it was signed with. */
  follow(other: PriceTable): void {
    this.requireFollows(other);
    this.#file = other.#file;
    this.#sha256 = other.#sha256;
  }

  /**
   * The price that goes into the ticket; its `hold` is the most that the job can cost. Undefined if the model
   * is free.
   */
  priceOf({ model, task, params, policy, inputBytes }: Work): Price | undefined {
    const own = this.#file?.models[model];
    if (this.#file === undefined || own === undefined) return undefined;
    const { input, output, second, attestation: method } = own;
    const attestation = Math.ceil(
      PROMISES.shares(policy).reduce((sum, { name, share }) => sum + (method[name] ?? 0) * share, 0),
    );
    const most = runPrice(
      own,
      inputBytes + TEMPLATE_TOKENS,
      task === 'embedding' ? 0 : params.max_tokens,
      own.maxSeconds,
    );
    return {
      table: { id: this.#file.id, sha256: this.#sha256 },
      currency: this.#file.currency,
      input,
      output,
      second,
      attestation,
      hold: Math.ceil(PROMISES.runs(policy) * most + attestation),
    };
  }

  /** The currency of all prices; undefined for the free table. */
  get currency(): string | undefined {
    return this.#file?.currency;
  }
}

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import { runPrice } from '../../proof/receipts/charge.ts';
import type { Params, Policy, Price } from '../../proof/receipts/statements.ts';
import type { Task } from '../../proof/receipts/fields.ts';

const Amount = z.number().int().min(0).max(1_000_000_000_000);

/** Prices are in millionths of the currency: tokens for a million of them, the rest for each. */
const ModelPrice = z.strictObject({
  input: Amount,
  output: Amount.default(0),
  second: Amount.default(0),
  /** Most seconds of a worker that are paid. */
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

/** What a job would be, before it is one. */
export interface Work {
  readonly model: string;
  readonly task: Task;
  readonly params: Params;
  readonly policy: Policy;
  readonly inputBytes: number;
}

/** Tokens that a template may add; the attestor accepts no more for an input. */
const TEMPLATE_TOKENS = 64;

/** The operator's prices; a model that is not in it is free. */
export class PriceTable {
  readonly #file: z.infer<typeof PriceFile> | undefined;
  readonly #sha256: string;

  private constructor(text: string, file: z.infer<typeof PriceFile> | undefined) {
    this.#file = file;
    this.#sha256 = sha256Hex(text);
  }

  static readonly free = new PriceTable('', undefined);

  /** Throws CodedError `prices_invalid` with every mistake. */
  static read(path: string): PriceTable {
    let text: string;
    let json: unknown;
    try {
      text = readFileSync(path, 'utf8');
      json = JSON.parse(text);
    } catch (cause) {
      throw new CodedError('prices_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
    }
    const parsed = PriceFile.safeParse(json);
    if (!parsed.success) {
      const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
      throw new CodedError('prices_invalid', `${path}: ${problems.join('; ')}`);
    }
    return new PriceTable(text, parsed.data);
  }

  /** The price that goes into the ticket, with the most that the job can cost. */
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

  get currency(): string | undefined {
    return this.#file?.currency;
  }
}

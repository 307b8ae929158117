import { z } from 'zod';
import { messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { X402_VERSION, type PaymentPayload, type Requirements } from './x402.ts';

const VERIFY_MS = 10_000;
/** A settlement waits until its transaction is on the chain. */
const SETTLE_MS = 60_000;
const MAX_ANSWER_BYTES = 65_536;

const Reason = z.string().transform((text) => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200));
const Verified = z.looseObject({
  isValid: z.boolean(),
  invalidReason: Reason.nullish(),
  payer: z.string().nullish(),
});
const Settled = z.looseObject({
  success: z.boolean(),
  errorReason: Reason.nullish(),
  transaction: z.string().max(256).default(''),
  network: z.string().max(64).nullish(),
});
/** The answer to `verify`. */
export type Verified = z.infer<typeof Verified>;
/** The answer to `settle`. */
export type Settled = z.infer<typeof Settled>;

/** The facilitator gave no answer that can be read. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  /** Whether the facilitator may have received the request, and acted on it. */
  readonly mayHaveArrived: boolean;

  constructor(message: string, mayHaveArrived: boolean, cause?: unknown) {
    super(message, { cause });
    this.mayHaveArrived = mayHaveArrived;
  }
}

/**
 * A client of the operator's x402 facilitator, which verifies payments and carries them out. Both methods
 * throw NoAnswer. Any number of calls may run at once.
 */
export class Facilitator {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  verify(payload: PaymentPayload, requirements: Requirements): Promise<Verified> {
    return this.#ask('verify', Verified, payload, requirements, VERIFY_MS);
  }

  settle(payload: PaymentPayload, requirements: Requirements): Promise<Settled> {
    return this.#ask('settle', Settled, payload, requirements, SETTLE_MS);
  }

  async #ask<Schema extends z.ZodType>(
    what: 'verify' | 'settle',
    schema: Schema,
    paymentPayload: PaymentPayload,
    paymentRequirements: Requirements,
    withinMs: number,
  ): Promise<z.infer<Schema>> {
    let status: number;
    let text: string;
    try {
      const response = await fetch(`${this.#url}/${what}`, {
        method: 'POST',
        redirect: 'error',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ x402Version: X402_VERSION, paymentPayload, paymentRequirements }),
        signal: AbortSignal.timeout(withinMs),
      });
      status = response.status;
      const bytes = await readBounded(response, MAX_ANSWER_BYTES);
      if (bytes === undefined) throw new Error(`more than ${MAX_ANSWER_BYTES} bytes`);
      text = bytes.toString('utf8');
    } catch (error) {
      const code = systemCodeOf(error instanceof Error ? error.cause : undefined);
      const neverSent = code === 'ECONNREFUSED' || code === 'ENOTFOUND';
      throw new NoAnswer(`the facilitator does not answer (${code ?? messageOf(error)})`, !neverSent, error);
    }
    // A refusal comes with 4xx or 200; a 5xx does not say what happened.
    const answer = status < 500 ? schema.safeParse(jsonOf(text)) : undefined;
    if (answer?.success !== true) throw new NoAnswer(`the facilitator answered ${status} without a result`, true);
    return answer.data;
  }
}

/** The parsed text, or undefined if it is not JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

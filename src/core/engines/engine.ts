import type { Params, Ticket } from '../../proof/receipts/statements.ts';
import type { FinishReason, Task, Usage } from '../../proof/receipts/fields.ts';

export interface EngineIdentity {
  readonly name: string;
  readonly version: string;
  /**
   * SHA-256 that stands for the build: of the engine package's manifest, or of the remote server's
   * description.
   */
  readonly sha256: string;
}

export interface EngineResult {
  /** The output document of the task, as JSON text. */
  readonly output: string;
  readonly usage: Usage;
  readonly finishReason: FinishReason;
  /** The tokens of the answer, where the engine's model can replay them. */
  readonly tokens?: readonly number[];
}

/** What an engine's own copy of the model says of tokens that somebody else claims to have drawn. */
export interface Replay {
  /** The output and usage that these tokens make, were they drawn. */
  readonly result: EngineResult;
  /** Whether the answer ends where its finish reason says, by its tokens. */
  readonly isWhole: boolean;
  /**
   * For each token, and for the end of the answer where the model chose it: how far the model's logits would
   * have to be off for the sampler to draw it, with the seed of the ticket; 0 where it draws it. Of an engine
   * whose sampler is not known, how surprising each drawn token is (`surprise` in prompt-logprobs.ts).
   */
  readonly margins: readonly number[];
}

/** What an engine needs of a ticket: the parameters are all there, none is left to a default. */
export interface Work {
  readonly task: Task;
  readonly params: Params;
}

/**
 * Runs one model. `run` yields provisional pieces of text and returns the result; it stops within one token
 * when the signal is aborted, and throws what `EngineError` describes. It may be called again while earlier
 * calls run; an engine that can do less at once queues them.
 */
export interface Engine {
  readonly identity: EngineIdentity;
  readonly model: { readonly name: string; readonly sha256: string; readonly measured: boolean };
  /** Calls that run at once. */
  readonly parallel: number;
  /** Whether the same ticket and input always give the same bytes. */
  readonly repeatable: 'exact' | 'within-tolerance' | 'no';
  run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult>;
  /**
   * Scores claimed tokens in one forward pass. Throws EngineError; undefined members are what engines cannot
   * do.
   */
  replay?(work: Work, input: unknown, tokens: readonly number[], signal: AbortSignal): Promise<Replay>;
  /**
   * Usage by the model's own tokenizer, without a run: exact of the input, and of the answer what its text
   * has at least where it is written in the fewest tokens.
   */
  recount?(work: Work, input: unknown, output: string): Usage | Promise<Usage>;
  /**
   * Resolves when the server on which it stands has shown of late that it is there, and throws where it is
   * away. Engines of this process have none.
   */
  probe?(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export type EngineFailure = 'engine_error' | 'engine_refused' | 'engine_overloaded' | 'context_exceeded';

/**
 * A clean failure of an engine. `engine_refused` is final, and `context_exceeded`, which is a prompt that is
 * too long: the same question will be refused again.
 */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: EngineFailure;

  constructor(code: EngineFailure, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export function canReplay(engine: Engine): engine is Engine & Required<Pick<Engine, 'replay'>> {
  return engine.replay !== undefined;
}

export function workOf(ticket: Ticket): Work {
  return { task: ticket.predicate.task, params: ticket.predicate.params };
}

/** Runs to the end; `onPiece` hears of the pieces. */
export async function runToEnd(
  engine: Engine,
  work: Work,
  input: unknown,
  signal: AbortSignal,
  onPiece: (text: string) => void = () => undefined,
): Promise<EngineResult> {
  const run = engine.run(work, input, signal);
  for (;;) {
    const step = await run.next();
    if (step.done === true) return step.value;
    onPiece(step.value);
  }
}

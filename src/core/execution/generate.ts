import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import type { Task } from '../../proof/receipts/fields.ts';
import { outputFault } from '../../proof/tasks/output-fault.ts';
import { textOfOutput } from '../../proof/tasks/task-input.ts';
import { EngineError, workOf, type Engine, type EngineResult } from '../engines/engine.ts';
import type { Attempt } from './attempt.ts';
import { ChunkStream } from './chunk-stream.ts';
import type { PieceLink } from './links.ts';
import { SteadyPieces } from './steady-pieces.ts';

/**
 * Runs the engine and streams what it writes. Throws EngineError where the answer is none that could be
 * confirmed, or begins otherwise than what was streamed of it: this worker signs neither.
 */
export async function generate(
  link: PieceLink,
  { claim, ticket }: Attempt,
  engine: Engine,
  input: unknown,
  signal: AbortSignal,
  begun: Promise<void> | undefined,
): Promise<EngineResult> {
  // A vote is sealed: another worker could copy what is streamed.
  const isSealed = PROMISES.isSealed(ticket.predicate.policy);
  const chunks = new ChunkStream(link, claim, begun);
  const work = workOf(ticket);
  const pieces = new SteadyPieces(work.params.stop);
  const show = (text: string) => {
    if (!isSealed && text !== '') chunks.write(text);
  };
  const run = engine.run(work, input, signal);
  try {
    for (;;) {
      const step = await run.next();
      signal.throwIfAborted();
      if (step.done === true) {
        const rest = restOf(work.task, step.value, pieces);
        // What an engine does not stream comes with the confirmed answer.
        if (pieces.isBegun) show(rest);
        return step.value;
      }
      show(pieces.push(step.value));
    }
  } finally {
    chunks.flush();
  }
}

/** What was not streamed yet of an answer that can be confirmed. Throws EngineError where it cannot. */
function restOf(task: Task, { output, finishReason }: EngineResult, pieces: SteadyPieces): string {
  const fault = outputFault(task, output, finishReason);
  if (fault !== undefined)
    throw new EngineError('engine_error', `What the engine answered is no answer: ${fault.slice(0, 200)}`);
  const rest = pieces.end(textOfOutput(JSON.parse(output)));
  if (rest === undefined) throw new EngineError('engine_error', 'The engine answered otherwise than it had begun to.');
  return rest;
}

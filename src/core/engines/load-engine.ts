import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { loadWhereItFits } from '../gpus/gpu-room.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Params } from '../../proof/receipts/statements.ts';
import type { Task } from '../../proof/receipts/fields.ts';
import { EngineError, runToEnd, type Engine } from './engine.ts';
import type { EngineModel } from './engine-kind.ts';

const SELF_CHECK_MS = 60_000;
const PARAMS: Params = { max_tokens: 4, temperature: 0, top_p: 1, seed: 1, stop: [] };

const SELF_CHECK_INPUT = {
  completion: { prompt: 'In the beginning' },
  chat: { messages: [{ role: 'user', content: 'In the beginning' }] },
  embedding: { texts: ['In the beginning'] },
} as const satisfies Record<Task, unknown>;

/**
 * The engine of a catalog entry, loaded and proven: it answers each task it is offered for, and an engine
 * that says it repeats itself does. Throws CodedErrors `engine_unfit`, `model_file_unfit`, and `engine_away`
 * where its server does not answer, or its GPUs have no room for it.
 */
export function loadEngine(model: EngineModel): Promise<Engine> {
  return loadWhereItFits(model, () => loadProven(model));
}

async function loadProven(model: EngineModel): Promise<Engine> {
  let engine: Engine | undefined;
  try {
    engine = await model.load();
    for (const task of model.tasks) await selfCheck(engine, task);
    return engine;
  } catch (cause) {
    await engine?.close();
    if (cause instanceof CodedError) throw cause;
    if (engine?.probe !== undefined && isOfServer(cause))
      throw new CodedError('engine_away', `The server of ${model.name} does not answer: ${messageOf(cause)}`, {
        cause,
      });
    throw new CodedError('engine_unfit', `The engine ${model.engine} cannot run ${model.name}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Whether an error is of a server at this moment, and not of its model. */
function isOfServer(error: unknown): boolean {
  if (error instanceof EngineError) return error.code !== 'engine_refused';
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
}

async function selfCheck(engine: Engine, task: Task): Promise<void> {
  const run = () =>
    runToEnd(engine, { task, params: PARAMS }, SELF_CHECK_INPUT[task], AbortSignal.timeout(SELF_CHECK_MS));
  const first = await run();
  OUTPUTS[task].parse(JSON.parse(first.output));
  if (engine.repeatable === 'exact' && (await run()).output !== first.output) {
    throw new Error(`it gave two answers to one ${task} question with one seed`);
  }
}

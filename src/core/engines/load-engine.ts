import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Params } from '../../proof/receipts/statements.ts';
import type { Task } from '../../proof/receipts/fields.ts';
import { runToEnd, type Engine } from './engine.ts';
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
 * that says it repeats itself does. Throws CodedError `engine_unfit` or `model_file_unfit`.
 */
export async function loadEngine(model: EngineModel): Promise<Engine> {
  let engine: Engine | undefined;
  try {
    engine = await model.load();
    for (const task of model.tasks) await selfCheck(engine, task);
    return engine;
  } catch (cause) {
    await engine?.close();
    if (cause instanceof CodedError) throw cause;
    throw new CodedError('engine_unfit', `The engine ${model.engine} cannot run ${model.name}: ${messageOf(cause)}`, {
      cause,
    });
  }
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

import type { Task } from '../../proof/receipts/fields.ts';
import { EngineError, runToEnd, type Engine } from './engine.ts';

/** Behind what it still works on, the smallest question is answered in this time. */
const TRIAL_MS = 30_000;

/** The smallest question of each task. */
const QUESTIONS = {
  completion: { prompt: 'a' },
  chat: { messages: [{ role: 'user', content: 'a' }] },
  embedding: { texts: ['a'] },
} as const satisfies Record<Task, unknown>;

/**
 * Asks an engine the smallest question, whose answer nobody wants. Throws where it does not answer; that it
 * refuses this question is an answer.
 */
export async function tryEngine(engine: Engine, task: Task): Promise<void> {
  const params = { max_tokens: 1, temperature: 0, top_p: 1, seed: 0, stop: [] };
  try {
    await runToEnd(engine, { task, params }, QUESTIONS[task], AbortSignal.timeout(TRIAL_MS));
  } catch (error) {
    const isRefusal =
      error instanceof EngineError && (error.code === 'engine_refused' || error.code === 'context_exceeded');
    if (!isRefusal) throw error;
  }
}

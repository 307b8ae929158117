import { randomInt } from 'node:crypto';
import { runToEnd, type Engine, type Work } from '../../core/engines/engine.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';

const JOB_MS = 120_000;
/** Beginnings as people write them. The model continues each, so that no two prompts are alike. */
const BEGINNINGS = ['Tell me about', 'In those days', 'And the people', 'What is', 'Behold, the', 'He went unto'];

/** A job whose answer is known. */
export interface Canary {
  readonly input: { readonly prompt: string };
  readonly work: Work;
  /** The whole output, byte for byte. */
  readonly known: string;
}

/**
 * Draws a prompt that looks like any other, and computes its answer on an engine that repeats itself exactly.
 */
export async function drawCanary(engine: Engine): Promise<Canary> {
  const seed = randomInt(2 ** 32);
  const work = (maxTokens: number, temperature: number): Work => ({
    task: 'completion',
    params: { max_tokens: maxTokens, temperature, top_p: 1, seed, stop: [] },
  });
  const beginning = BEGINNINGS[randomInt(BEGINNINGS.length)] ?? '';
  const continued = await runToEnd(engine, work(8, 1), { prompt: beginning }, AbortSignal.timeout(JOB_MS));
  const input = { prompt: `${beginning}${OUTPUTS.completion.parse(JSON.parse(continued.output)).text}` };
  const asked = work(16 + randomInt(48), randomInt(11) / 10);
  const { output } = await runToEnd(engine, asked, input, AbortSignal.timeout(JOB_MS));
  return { input, work: asked, known: output };
}

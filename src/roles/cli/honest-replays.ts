import type { CatalogModel } from '../../core/catalog/catalog.ts';
import { canReplay, runToEnd, type Engine, type Work } from '../../core/engines/engine.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';

/** What replays of honest answers showed: the margins of each answer's tokens. */
export interface HonestReplays {
  readonly greedy: readonly (readonly number[])[];
  readonly sampled: readonly (readonly number[])[];
  readonly engine: { readonly name: string; readonly version: string };
}

/** Answers are made under the conditions in turn, so many of each round. */
const ROUND = 24;
const TEMPERATURES = [0, 0.5, 0, 0.8, 1, 1.3] as const;
const JOB_MS = 300_000;
const MAX_LANES = 8;

type ReplayEngine = Engine & Required<Pick<Engine, 'replay'>>;

/**
 * Makes `jobs` answers under all conditions of a model and replays each; `onProgress` is told how many are
 * done. Throws CodedError `engine_unfit` if
 * the model cannot be replayed, or if an answer is not read as it was written.
 */
export async function honestReplays(
  model: CatalogModel,
  maxTemperature: number,
  prompts: readonly string[],
  jobs: number,
  maxTokens: number,
  onProgress: (done: number) => void,
): Promise<HonestReplays> {
  const reference = await loadEngine(model.reference());
  const temperatures = TEMPERATURES.filter((temperature) => temperature <= maxTemperature);
  const replays: { greedy: (readonly number[])[]; sampled: (readonly number[])[] } = { greedy: [], sampled: [] };
  try {
    if (!canReplay(reference)) throw new CodedError('engine_unfit', `The tokens of ${model.name} cannot be replayed.`);
    let from = 0;
    for (const condition of model.conditions()) {
      const to = from + condition.parts;
      const range = [from, to] as const;
      from = to;
      const worker = await loadEngine(condition.model);
      try {
        const numbers = Array.from({ length: jobs }, (_, at) => at).filter(
          (at) => at % ROUND >= range[0] && at % ROUND < range[1],
        );
        const runLane = async () => {
          for (let at = numbers.shift(); at !== undefined; at = numbers.shift()) {
            const temperature = temperatures[at % temperatures.length] ?? 0;
            const prompt = prompts[at % prompts.length] ?? '';
            const margins = await replayOne(reference, worker, { at, prompt, temperature, maxTokens });
            (temperature === 0 ? replays.greedy : replays.sampled).push(margins);
            onProgress(replays.greedy.length + replays.sampled.length);
          }
        };
        await Promise.all(Array.from({ length: Math.min(worker.parallel, MAX_LANES) }, runLane));
      } finally {
        await worker.close();
      }
    }
    return { ...replays, engine: { name: reference.identity.name, version: reference.identity.version } };
  } finally {
    await reference.close();
  }
}

interface Question {
  readonly at: number;
  readonly prompt: string;
  readonly temperature: number;
  readonly maxTokens: number;
}

/** The margins of one answer's tokens under replay. */
async function replayOne(
  reference: ReplayEngine,
  worker: Engine,
  { at, prompt, temperature, maxTokens }: Question,
): Promise<readonly number[]> {
  const work: Work = {
    task: 'completion',
    params: { max_tokens: maxTokens, temperature, top_p: 1, seed: at, stop: [] },
  };
  // A greedy answer has no seed. Its prompt is continued by a drawn text, so that no two answers are alike.
  const input = { prompt: temperature === 0 ? await continued(worker, prompt, at) : prompt };
  const answer = await runToEnd(worker, work, input, AbortSignal.timeout(JOB_MS));
  const replay = await reference.replay(work, input, answer.tokens ?? [], AbortSignal.timeout(JOB_MS));
  if (!replay.isWhole || replay.result.output !== answer.output) {
    const difference = JSON.stringify({ written: answer, read: replay.result, isWhole: replay.isWhole });
    throw new CodedError('engine_unfit', `Answer ${at} is not read as it was written: ${difference.slice(0, 600)}`);
  }
  return replay.margins;
}

async function continued(engine: Engine, prompt: string, seed: number): Promise<string> {
  const params = { max_tokens: 12, temperature: 1, top_p: 1, seed, stop: [] };
  const { output } = await runToEnd(engine, { task: 'completion', params }, { prompt }, AbortSignal.timeout(JOB_MS));
  return `${prompt}${OUTPUTS.completion.parse(JSON.parse(output)).text}`;
}

import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { limitsOf, noiseOf, sumOfMargins, type Calibration, type Noise } from '../../core/attestation/calibration.ts';
import { canReplay, runToEnd, type Engine, type Work } from '../../core/engines/engine.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { readCatalog, type CatalogModel } from '../../core/catalog/catalog.ts';
import { Output, jsonOption } from './output.ts';
import type { DataFolder } from './set-up.ts';

/** Answers are made under the conditions in turn, so many of each round. */
const ROUND = 24;
const TEMPERATURES = [0, 0.5, 0, 0.8, 1, 1.3] as const;
const JOB_MS = 300_000;
const PROMPTS = [
  'In the beginning',
  'And it came to pass in those days that',
  'The king said unto the people,',
  'Write a short letter to a friend about the weather.',
  'List three reasons to keep a diary.',
  'Once there was a river that',
  'Explain why the sky is dark at night.',
  'Behold, I will',
];

/** `countersign calibrate`: what honest answers of a model look like when their tokens are replayed. */
export function addCalibrateCommand(program: Command, data: () => DataFolder, number: (text: string) => number): void {
  program
    .command('calibrate')
    .description('measure what honest answers of a model look like under replay, for the method tokens')
    .argument('<model>', 'model of the catalog, of the engine llama, or openai with `replay`')
    .option('--catalog <file>', 'catalog; by default the one of the data folder')
    .option('--jobs <n>', 'answers to measure', number, 300)
    .option('--max-tokens <n>', 'most tokens of an answer', number, 128)
    .option('--prompts <file>', 'prompts, one a line, that are like those of the real use')
    .option('--out <file>', 'file to write; its name must end in .calibration.json for an attestor to find it')
    .addOption(jsonOption())
    .action(
      async (
        name: string,
        options: { catalog?: string; jobs: number; maxTokens: number; prompts?: string; out?: string; json?: boolean },
      ) => {
        const out = new Output(options.json === true);
        const model = readCatalog(options.catalog ?? data().catalog()).get(name);
        const replay = model?.capabilities.replay;
        if (model === undefined || replay === undefined)
          throw new CodedError(
            'model_not_found',
            `The catalog has no model ${name} whose tokens can be replayed: of the engine llama, or openai with replay.`,
          );
        const prompts =
          options.prompts === undefined
            ? PROMPTS
            : readFileSync(options.prompts, 'utf8')
                .split('\n')
                .filter((line) => line.trim() !== '');
        const conditions = model.conditions();
        const replays = await honestReplays(model, replay.maxTemperature, prompts, options.jobs, options.maxTokens);
        const calibration: Calibration = {
          version: 1,
          model: { name, sha256: model.sha256 },
          engine: replays.engine,
          measuredAt: new Date().toISOString(),
          conditions: conditions.map(({ words }) => words),
          jobs: options.jobs,
          greedy: noiseOf(replays.greedy),
          sampled: noiseOf(replays.sampled, replay.measure),
        };
        if (options.out !== undefined)
          writeFileSync(options.out, `${JSON.stringify(calibration, null, 2)}\n`, { mode: 0o644 });
        const worst = Math.max(
          nearest(calibration.greedy, replays.greedy),
          nearest(calibration.sampled, replays.sampled),
        );
        const line = ({ tokens, mean, deviation, largest }: Noise) =>
          `${tokens} tokens, margin mean ${mean.toExponential(2)}, deviation ${deviation.toExponential(2)}, largest ${largest.toExponential(2)}`;
        out.show({ ...calibration, worst }, [
          `${name}  ${calibration.jobs} answers`,
          `  greedy              ${line(calibration.greedy)}`,
          `  sampled             ${line(calibration.sampled)}`,
          `  nearest to a limit  ${(worst * 100).toFixed(1)} %`,
          ...(options.out === undefined ? [] : [`  written to          ${options.out}`]),
        ]);
      },
    );
}

/** The largest share of its limit that an honest answer reached. */
function nearest(noise: Noise, replays: readonly (readonly number[])[]): number {
  return Math.max(...replays.map((margins) => sumOfMargins(margins, noise) / limitsOf(noise, margins.length).sum));
}

async function honestReplays(
  model: CatalogModel,
  maxTemperature: number,
  prompts: readonly string[],
  jobs: number,
  maxTokens: number,
) {
  const reference = await loadEngine(model.reference());
  const temperatures = TEMPERATURES.filter((temperature) => temperature <= maxTemperature);
  const [greedy, sampled]: [(readonly number[])[], (readonly number[])[]] = [[], []];
  try {
    if (!canReplay(reference)) throw new CodedError('engine_unfit', `The tokens of ${model.name} cannot be replayed.`);
    let from = 0;
    for (const condition of model.conditions()) {
      const to = from + condition.parts;
      const isOfCondition = (at: number) => at % ROUND >= from && at % ROUND < to;
      const worker = await loadEngine(condition.model);
      try {
        const numbers = Array.from({ length: jobs }, (_, at) => at).filter(isOfCondition);
        from = to;
        const lanes = Array.from({ length: Math.min(worker.parallel, 8) }, async () => {
          for (let at = numbers.shift(); at !== undefined; at = numbers.shift()) {
            const work: Work = {
              task: 'completion',
              params: {
                max_tokens: maxTokens,
                temperature: temperatures[at % temperatures.length] ?? 0,
                top_p: 1,
                seed: at,
                stop: [],
              },
            };
            // A greedy answer has no seed: its prompt goes on with a drawn text, so that no two are alike.
            const prompt = prompts[at % prompts.length] ?? '';
            const isGreedy = work.params.temperature === 0;
            const input = { prompt: isGreedy ? await goneOn(worker, prompt, at) : prompt };
            const answer = await runToEnd(worker, work, input, AbortSignal.timeout(JOB_MS));
            const replay = await reference.replay(work, input, answer.tokens ?? [], AbortSignal.timeout(JOB_MS));
            if (!replay.isWhole || replay.result.output !== answer.output)
              throw new CodedError(
                'engine_unfit',
                `Answer ${at} is not read as it was written: ${JSON.stringify({ written: answer, read: replay.result, isWhole: replay.isWhole }).slice(0, 600)}`,
              );
            (isGreedy ? greedy : sampled).push(replay.margins);
          }
        });
        await Promise.all(lanes);
      } finally {
        await worker.close();
      }
    }
    return { greedy, sampled, engine: { name: reference.identity.name, version: reference.identity.version } };
  } finally {
    await reference.close();
  }
}

async function goneOn(engine: Engine, prompt: string, seed: number): Promise<string> {
  const params = { max_tokens: 12, temperature: 1, top_p: 1, seed, stop: [] };
  const { output } = await runToEnd(engine, { task: 'completion', params }, { prompt }, AbortSignal.timeout(JOB_MS));
  return `${prompt}${OUTPUTS.completion.parse(JSON.parse(output)).text}`;
}

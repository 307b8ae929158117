import { readFileSync, writeFileSync } from 'node:fs';
import { limitsOf, noiseOf, sumOfMargins, type Calibration, type Noise } from '../../core/attestation/calibration.ts';
import { readCatalog, type CatalogModel } from '../../core/catalog/catalog.ts';
import type { ReplayCapability } from '../../core/engines/engine-kind.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { numberOf } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import { honestReplays, type HonestReplays } from './honest-replays.ts';
import { Output, jsonOption } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

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

interface CalibrateOptions {
  readonly catalog?: string;
  readonly jobs: number;
  readonly maxTokens: number;
  readonly prompts?: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** `countersign calibrate`: what honest answers of a model look like when their tokens are replayed. */
export function addCalibrateCommand(cli: CliContext): void {
  cli.program
    .command('calibrate')
    .description('measure what honest answers of a model look like under replay, for the method tokens')
    .argument('<model>', 'model of the catalog, of the engine llama, or openai with `replay`')
    .option('--catalog <file>', 'catalog; by default the one of the data folder')
    .option('--jobs <n>', 'answers to measure', numberOf, 300)
    .option('--max-tokens <n>', 'maximum number of tokens in an answer', numberOf, 128)
    .option('--prompts <file>', 'prompts like those of the real use, one per line')
    .option('--out <file>', 'file to write; its name must end in .calibration.json for an attestor to find it')
    .addOption(jsonOption())
    .action(async (name: string, options: CalibrateOptions) => {
      const { model, replay } = replayable(name, options.catalog ?? cli.data.catalog());
      process.stderr.write(`${name}  loading the model, then ${options.jobs} answers\n`);
      const bar = new ProgressBar('answers replayed', options.jobs);
      const replays = await honestReplays(
        model,
        replay.maxTemperature,
        promptsOf(options.prompts),
        options.jobs,
        options.maxTokens,
        (done) => bar.at(done),
      ).finally(() => bar.end());
      const calibration = calibrationOf(model, replay, replays, options.jobs);
      if (options.out !== undefined)
        writeFileSync(options.out, `${JSON.stringify(calibration, null, 2)}\n`, { mode: 0o644 });
      const worst = Math.max(
        largestShareOfLimit(calibration.greedy, replays.greedy),
        largestShareOfLimit(calibration.sampled, replays.sampled),
      );
      new Output(options.json === true).show({ ...calibration, worst }, [
        `${name}  ${calibration.jobs} answers`,
        `  greedy              ${noiseLine(calibration.greedy)}`,
        `  sampled             ${noiseLine(calibration.sampled)}`,
        `  nearest to a limit  ${(worst * 100).toFixed(1)} %`,
        ...(options.out === undefined ? [] : [`  written to          ${options.out}`]),
      ]);
    });
}

/** The model and how its tokens are replayed. Throws CodedError `model_not_found`. */
function replayable(name: string, catalog: string): { model: CatalogModel; replay: ReplayCapability } {
  const model = readCatalog(catalog).get(name);
  const replay = model?.capabilities.replay;
  if (model === undefined || replay === undefined)
    throw new CodedError(
      'model_not_found',
      `The catalog has no model ${name} whose tokens can be replayed: of the engine llama, or openai with replay.`,
    );
  return { model, replay };
}

function promptsOf(file: string | undefined): readonly string[] {
  if (file === undefined) return PROMPTS;
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '');
}

function calibrationOf(
  model: CatalogModel,
  replay: ReplayCapability,
  replays: HonestReplays,
  jobs: number,
): Calibration {
  return {
    version: 1,
    model: { name: model.name, sha256: model.sha256 },
    engine: replays.engine,
    measuredAt: new Date().toISOString(),
    conditions: model.conditions().map(({ words }) => words),
    jobs,
    greedy: noiseOf(replays.greedy),
    sampled: noiseOf(replays.sampled, replay.measure),
  };
}

/** The largest share of its limit that an honest answer reached; 1 is the limit. */
function largestShareOfLimit(noise: Noise, replays: readonly (readonly number[])[]): number {
  return Math.max(...replays.map((margins) => sumOfMargins(margins, noise) / limitsOf(noise, margins.length).sum));
}

function noiseLine({ tokens, mean, deviation, largest }: Noise): string {
  const [m, d, l] = [mean, deviation, largest].map((value) => value.toExponential(2));
  return `${tokens} tokens, margin mean ${m}, deviation ${d}, largest ${l}`;
}

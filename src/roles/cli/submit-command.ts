import type { Command } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { numberOf, readJson } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { Output } from './output.ts';

const EXIT_NOT_DONE = 5;

/** The flags that describe a job. */
export interface JobFlags {
  readonly model: string;
  readonly body?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
  readonly recompute?: number;
  readonly tokens?: number;
  readonly tee?: true;
  readonly notBefore?: string;
  readonly deadline?: number;
  readonly priority?: number;
  readonly band?: string;
}

interface SubmitOptions extends RemoteOptions, JobFlags {
  readonly idempotencyKey?: string;
  readonly wait?: number;
}

/** `countersign submit`: one job, and with `--wait` its answer. */
export function addSubmitCommand(cli: CallerContext): void {
  withJobFlags(cli.remote('submit', 'submit a job; prints its id, or with --wait its answer'))
    .option('--idempotency-key <key>', 'the same key and body return the same job')
    .option('--not-before <time>', 'not to begin before this time, as in 2027-01-31T22:00:00Z')
    .option('--wait <seconds>', 'wait for the end', numberOf)
    .action(async (prompt: string | undefined, options: SubmitOptions) => {
      const out = new Output(options.json === true);
      const api = cli.client(options);
      const job = await api.submit(requestBody(prompt, options), {
        idempotencyKey: options.idempotencyKey,
        waitS: options.wait,
      });
      if (job.state !== 'done') {
        const reason = job.reason === null ? '' : `  ${job.reason.code}: ${job.reason.detail}`;
        out.show(job, [`${job.id}  ${job.state}${reason}`]);
        if (options.wait !== undefined) process.exitCode = EXIT_NOT_DONE;
        return;
      }
      const output: unknown = JSON.parse((await api.bytes(`/v1/jobs/${job.id}/output`)).toString('utf8'));
      out.show({ ...job, output }, [`${job.id}  done`, JSON.stringify(output)]);
    });
}

/** The same command, with a prompt and the flags that describe a job. */
export function withJobFlags(command: Command): Command {
  return command
    .argument('[prompt]', 'prompt of a completion')
    .option('--model <name>', 'model', 'kjv-1m')
    .option('--body <file>', 'a whole request body as JSON, instead of a prompt; - for standard input')
    .option('--max-tokens <n>', 'maximum number of tokens in the answer', numberOf)
    .option('--temperature <t>', 'temperature', numberOf)
    .option('--seed <n>', 'seed', numberOf)
    .option('--recompute <share>', 'share of answers computed again, 0 to 1', numberOf)
    .option('--tokens <share>', 'share of answers whose tokens are replayed, 0 to 1', numberOf)
    .option('--tee', 'only on a machine that is proven by hardware evidence')
    .option('--deadline <seconds>', 'to end within so many seconds', numberOf)
    .option('--priority <n>', 'among your own jobs, higher ones go first; -10 to 10', numberOf)
    .option('--band <name>', 'interactive, standard or batch: whose turn it is; standard by default');
}

/** The body of the job that prompt and flags describe. Throws CodedError `request_invalid`. */
export function requestBody(prompt: string | undefined, options: JobFlags): unknown {
  if (options.body !== undefined) return readJson(options.body);
  if (prompt === undefined) throw new CodedError('request_invalid', 'Give a prompt, or a body with --body.');
  return {
    model: options.model,
    task: 'completion',
    input: { prompt },
    params: { max_tokens: options.maxTokens, temperature: options.temperature, seed: options.seed },
    attestation: { recompute: options.recompute, tokens: options.tokens, tee: options.tee },
    not_before: options.notBefore,
    priority: options.priority,
    band: options.band,
    deadline_ms: options.deadline === undefined ? undefined : options.deadline * 1_000,
  };
}

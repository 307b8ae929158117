import { InvalidArgumentError, type Command } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { JOB_STATES, type JobState } from '../../proof/contract/job-states.ts';
import { numberOf, timeOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { askAll, matchingIds, type JobFilter } from './matching-jobs.ts';
import { Output } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

interface MatchOptions extends RemoteOptions {
  readonly state?: JobState;
  readonly model?: string;
  readonly createdAfter?: string;
  readonly createdBefore?: string;
  readonly worker?: string;
  readonly key?: string;
  readonly reason?: string;
  readonly count?: number;
}

/** What is done to all jobs that match. */
interface Bulk {
  readonly what: 'cancel' | 'retry';
  /** The states in which it can be done, and those that are meant where none is named. */
  readonly states: readonly JobState[];
  readonly unnamed: readonly JobState[];
  readonly asked: string;
}

const CANCEL: Bulk = {
  what: 'cancel',
  states: ['queued', 'running', 'attesting'],
  unnamed: ['queued', 'running', 'attesting'],
  asked: 'jobs asked to end',
};
const RETRY: Bulk = {
  what: 'retry',
  states: ['rejected', 'failed', 'expired', 'cancelled'],
  unnamed: ['rejected', 'failed', 'expired'],
  asked: 'jobs asked again',
};

/** `countersign jobs cancel` and `jobs retry`: all jobs of a tenant that match, under the command `jobs`. */
export function addJobsBulk(cli: CallerContext, jobs: Command): void {
  addMatching(
    cli.remote('cancel', 'cancel all open jobs that match: says how many there are, and with --count does it', jobs),
    CANCEL,
  ).action((options: MatchOptions) => doToMatching(cli, CANCEL, options));
  addMatching(
    cli.remote(
      'retry',
      'ask again what jobs asked that got no answer: says how many match, and with --count does it; again, it goes on',
      jobs,
    ),
    RETRY,
  )
    .option('--worker <id>', 'only jobs whose last attempt this worker made')
    .option('--key <id>', 'only jobs that this API key made')
    .option('--reason <words>', 'only jobs whose reason has all these words')
    .action((options: MatchOptions) => doToMatching(cli, RETRY, options));
}

function addMatching(command: Command, { what, states }: Bulk): Command {
  return command
    .option('--state <state>', `only jobs in this state: ${states.join(', ')}`, stateOf(states))
    .option('--model <name>', 'only jobs of this model')
    .option('--created-after <time>', 'only jobs that were created later', timeOf)
    .option('--created-before <time>', 'only jobs that were created earlier', timeOf)
    .option(
      '--count <n>',
      `how many match, as counted before: ${what} them, unless another number matches now`,
      numberOf,
    );
}

function stateOf(states: readonly JobState[]): (text: string) => JobState {
  return (text) => {
    const state = JOB_STATES.find((one) => one === text);
    if (state === undefined || !states.includes(state))
      throw new InvalidArgumentError(`must be one of ${states.join(', ')}.`);
    return state;
  };
}

async function doToMatching(cli: CallerContext, { what, unnamed, asked }: Bulk, options: MatchOptions): Promise<void> {
  const out = new Output(options.json === true);
  const api = cli.client(options);
  const { state, model, createdAfter, createdBefore, worker, key, reason, count } = options;
  const states = state === undefined ? unnamed : [state];
  const filter: JobFilter = { states, model, createdAfter, createdBefore, worker, key, reason };
  const ids = await showing('jobs that match', undefined, (at) => matchingIds(api, filter, at));
  if (count === undefined) {
    const hint = ids.length === 0 ? [] : [`nothing was done; to ${what} them, add: --count ${ids.length}`];
    out.show({ matched: ids.length }, [`${ids.length} match`, ...hint]);
    return;
  }
  if (count !== ids.length)
    throw new CodedError('match_changed', `${count} matched when counted, ${ids.length} match now. Nothing was done.`, {
      hint: `count again without --count, or name what matches now: --count ${ids.length}`,
    });
  const outcomes = await showing(asked, ids.length, (at) => askAll(api, what, ids, at));
  const lines = Object.entries(outcomes).map(([outcome, times]) => `${String(times).padStart(8)}  ${outcome}`);
  out.show({ matched: ids.length, outcomes }, lines.length === 0 ? ['nothing matches'] : lines);
}

/** Runs something that may take long, and shows how far it is. */
async function showing<T>(
  what: string,
  total: number | undefined,
  work: (at: (count: number) => void) => Promise<T>,
): Promise<T> {
  const bar = new ProgressBar(what, total);
  try {
    return await work((count) => bar.at(count));
  } finally {
    bar.end();
  }
}

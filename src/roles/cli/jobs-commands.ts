import { InvalidArgumentError, type Command } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { JOB_STATES, type JobState } from '../../proof/contract/job-states.ts';
import { numberOf, timeOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { cancelAll, matchingIds, type JobFilter } from './matching-jobs.ts';
import { Output } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

interface CancelOptions extends RemoteOptions {
  readonly state?: JobState;
  readonly model?: string;
  readonly createdAfter?: string;
  readonly createdBefore?: string;
  readonly count?: number;
}

const OPEN: readonly JobState[] = ['queued', 'running', 'attesting'];

/** `countersign jobs cancel`: all open jobs of a tenant that match, under the command `jobs`. */
export function addJobsCancel(cli: CallerContext, jobs: Command): void {
  cli
    .remote('cancel', 'cancel all open jobs that match: says how many there are, and with --count does it', jobs)
    .option('--state <state>', 'only jobs in this state: queued, running or attesting', openState)
    .option('--model <name>', 'only jobs of this model')
    .option('--created-after <time>', 'only jobs that were created later', timeOf)
    .option('--created-before <time>', 'only jobs that were created earlier', timeOf)
    .option(
      '--count <n>',
      'how many match, as counted before: cancel them, unless another number matches now',
      numberOf,
    )
    .action((options: CancelOptions) => cancelMatching(cli, options));
}

function openState(text: string): JobState {
  const state = JOB_STATES.find((one) => one === text);
  if (state === undefined || !OPEN.includes(state))
    throw new InvalidArgumentError(`must be one of ${OPEN.join(', ')}.`);
  return state;
}

async function cancelMatching(cli: CallerContext, options: CancelOptions): Promise<void> {
  const out = new Output(options.json === true);
  const api = cli.client(options);
  const { state, model, createdAfter, createdBefore, count } = options;
  const filter: JobFilter = { states: state === undefined ? OPEN : [state], model, createdAfter, createdBefore };
  const ids = await showing('jobs that match', undefined, (at) => matchingIds(api, filter, at));
  if (count === undefined) {
    const hint = ids.length === 0 ? [] : [`nothing was done; to cancel them, add: --count ${ids.length}`];
    out.show({ matched: ids.length }, [`${ids.length} match`, ...hint]);
    return;
  }
  if (count !== ids.length)
    throw new CodedError('match_changed', `${count} matched when counted, ${ids.length} match now. Nothing was done.`, {
      hint: `count again without --count, or name what matches now: --count ${ids.length}`,
    });
  const outcomes = await showing('jobs asked to end', ids.length, (at) => cancelAll(api, ids, at));
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

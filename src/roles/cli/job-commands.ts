import { writeFileSync } from 'node:fs';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import type { Why } from '../../proof/contract/why.ts';
import { printable } from '../../surfaces/checker/printable.ts';
import { numberOf, timeOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { addReplay } from './replay-command.ts';
import { addJobsBulk } from './jobs-commands.ts';
import { Output } from './output.ts';

/** `countersign watch`, `get`, `why`, `list`, `cancel`, `erase` and `jobs`: jobs submitted before. */
export function addJobCommands(cli: CallerContext): void {
  addWatch(cli);
  addGet(cli);
  addWhy(cli);
  addList(cli);
  addCancel(cli);
  addErase(cli);
  addStuck(cli);
}

function addWatch(cli: CallerContext): void {
  cli
    .remote('watch', 'follow a job: its states, and provisional output as it is written')
    .argument('<id>', 'job id')
    .action(async (id: string, options: RemoteOptions) => {
      for await (const event of cli.client(options).events(id)) {
        const line = options.json === true ? JSON.stringify({ event: event.type, ...event.data }) : eventLine(event);
        process.stdout.write(`${line}\n`);
      }
    });
}

function eventLine({ type, data }: { type: string; data: Record<string, unknown> }): string {
  if (type === 'forecast') {
    const { queue_position, eta } = data as Pick<JobDocument, 'queue_position' | 'eta'>;
    return foreseenLines({ queue_position, eta }).join('\n') || '  nothing can be foreseen';
  }
  if (type !== 'state') return `  provisional  ${JSON.stringify(data['text'])}`;
  const detail = typeof data['detail'] === 'string' ? data['detail'] : '';
  return `${String(data['at'])}  ${String(data['state'])}  ${detail}`;
}

function addGet(cli: CallerContext): void {
  cli
    .remote('get', 'show a job or its output, or save its receipt')
    .argument('<id>', 'job id')
    .option('--output', 'write the confirmed output, its bytes unchanged')
    .option('--receipt <file>', 'save the receipt')
    .action(async (id: string, options: RemoteOptions & { output?: boolean; receipt?: string }) => {
      const out = new Output(options.json === true);
      const api = cli.client(options);
      const path = `/v1/jobs/${encodeURIComponent(id)}`;
      if (options.receipt !== undefined) {
        writeFileSync(options.receipt, await api.bytes(`${path}/receipt`));
        out.show({ receipt: options.receipt }, [options.receipt]);
      } else if (options.output === true) {
        // As they were confirmed: a line feed more, and their digest is another.
        const bytes = await api.bytes(`${path}/output`);
        process.stdout.write(bytes);
        if (process.stdout.isTTY) process.stdout.write('\n');
      } else {
        const job = await api.job(id);
        out.show(job, jobLines(job));
      }
    });
}

function jobLines(job: JobDocument): string[] {
  return [
    `${job.id}  ${job.state}  ${job.model}  ${job.created_at}`,
    ...foreseenLines(job),
    ...job.attempts.map((attempt) => `  attempt ${attempt.epoch}  ${attempt.worker}  ${fateOf(attempt)}`),
    ...(job.retried_from === null ? [] : [`  asks again what ${job.retried_from} asked`]),
    ...(job.erased_at === null ? [] : [`  erased ${job.erased_at}`]),
    ...(job.confirmed_by === null ? [] : [`  confirmed by ${job.confirmed_by.join(', ')}`]),
    ...(job.not_checked === null || job.not_checked.length === 0
      ? []
      : [`  not checked: ${job.not_checked.join(', ')}`]),
    ...(job.reason === null ? [] : [`  ${job.reason.code}: ${printable(job.reason.detail)}`]),
  ];
}

function foreseenLines({ queue_position, eta }: Pick<JobDocument, 'queue_position' | 'eta'>): string[] {
  return [
    ...(queue_position === null ? [] : [`  jobs to end before it begins: ${queue_position}`]),
    ...(eta === null ? [] : [`  ends by ${eta.p50} (1 in 2) or ${eta.p90} (9 in 10)`]),
  ];
}

function addWhy(cli: CallerContext): void {
  cli
    .remote('why', 'say what a job waits for')
    .argument('<id>', 'job id')
    .action(async (id: string, options: RemoteOptions) => {
      const why = (await cli.client(options).json(`/v1/jobs/${encodeURIComponent(id)}/why`)) as Why;
      new Output(options.json === true).show(why, [
        `${why.state}  ${why.held_by}  ${why.detail}`,
        ...(why.remedy === null ? [] : [`  ${why.remedy}`]),
      ]);
    });
}

function fateOf({ closed, committed_at }: JobDocument['attempts'][number]): string {
  if (closed !== null) return `${closed.why} ${closed.detail}`;
  return committed_at === null ? 'running' : 'committed';
}

interface ListOptions extends RemoteOptions {
  readonly state?: string;
  readonly model?: string;
  readonly worker?: string;
  readonly key?: string;
  readonly reason?: string;
  readonly idempotencyKey?: string;
  readonly createdAfter?: string;
  readonly createdBefore?: string;
  readonly history?: boolean;
  readonly limit: number;
  readonly cursor?: string;
}

function addList(cli: CallerContext): void {
  cli
    .remote('list', 'list jobs, newest first')
    .option('--state <state>', 'only jobs in this state')
    .option('--model <name>', 'only jobs of this model')
    .option('--worker <id>', 'only jobs whose last attempt this worker made')
    .option('--key <id>', 'only jobs that this API key made')
    .option('--reason <words>', 'only ended jobs whose reason has all these words')
    .option('--idempotency-key <key>', 'only the job that was asked for under this key within a day')
    .option('--created-after <time>', 'only jobs that were created later', timeOf)
    .option('--created-before <time>', 'only jobs that were created earlier', timeOf)
    .option('--history', 'also ended jobs that only the history keeps')
    .option('--limit <n>', 'jobs on a page', numberOf, 20)
    .option('--cursor <cursor>', 'continue where a page ended')
    .action(async (options: ListOptions) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      for (const name of LIST_FILTERS) if (options[name] !== undefined) query.set(inQuery(name), options[name]);
      if (options.history === true) query.set('history', 'true');
      const page = (await cli.client(options).json(`/v1/jobs?${query.toString()}`)) as {
        jobs: JobDocument[];
        next_cursor: string | null;
        catching_up: boolean;
      };
      new Output(options.json === true).show(page, [
        ...page.jobs.map(listLine),
        ...(page.catching_up ? ['the history is still taking in what ended before; ask again'] : []),
        ...(page.next_cursor === null ? [] : [`more: --cursor ${page.next_cursor}`]),
      ]);
    });
}

const LIST_FILTERS = [
  ...(['state', 'model', 'worker', 'key', 'reason'] as const),
  ...(['idempotencyKey', 'createdAfter', 'createdBefore', 'cursor'] as const),
] as const;

/** `createdAfter` is `created_after`. */
const inQuery = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function listLine({ id, state, model, created_at, confirmed_by, reason }: JobDocument): string {
  const line = `${id}  ${state.padEnd(9)}  ${model}  ${created_at}`;
  if (confirmed_by !== null) return `${line}  by ${confirmed_by.join(', ')}`;
  return reason === null || state === 'done' ? line : `${line}  ${printable(`${reason.code} ${reason.detail}`.trim())}`;
}

function addCancel(cli: CallerContext): void {
  cli
    .remote('cancel', 'ask for a job to be cancelled')
    .argument('<id>', 'job id')
    .action(async (id: string, options: RemoteOptions) => {
      const answer = (await cli.client(options).json(`/v1/jobs/${encodeURIComponent(id)}/cancel`, 'POST')) as {
        outcome: string;
        job: { state: string };
      };
      new Output(options.json === true).show(answer, [`${answer.outcome}  (${answer.job.state})`]);
    });
}

function addErase(cli: CallerContext): void {
  cli
    .remote('erase', 'erase input, parameters and output of a job that has ended')
    .argument('<id>', 'job id')
    .action(async (id: string, options: RemoteOptions) => {
      const job = (await cli.client(options).json(`/v1/jobs/${encodeURIComponent(id)}`, 'DELETE')) as JobDocument;
      new Output(options.json === true).show(job, jobLines(job));
    });
}

interface StuckJob {
  readonly id: string;
  readonly tenant: string;
  readonly since: string;
  readonly failures: number;
  readonly cause: string;
  readonly next_try: string;
}

function addStuck(cli: CallerContext): void {
  const jobs = cli.program
    .command('jobs')
    .description('many jobs at once: cancel or retry all that match, see what is stuck; or run one again and compare');
  addJobsBulk(cli, jobs);
  addReplay(cli, jobs);
  cli
    .remote(
      'stuck',
      'list open jobs whose confirmation fails again and again; needs a key with the scope operator',
      jobs,
    )
    .option('--limit <n>', 'most jobs', numberOf, 100)
    .action(async (options: RemoteOptions & { limit: number }) => {
      const page = (await cli.client(options).json(`/v1/admin/jobs/stuck?limit=${options.limit}`)) as {
        jobs: StuckJob[];
      };
      const lines = page.jobs.map(
        ({ id, tenant, since, failures, cause, next_try }) =>
          `${id}  ${tenant}  since ${since}  failed ${failures} times, next try ${next_try}  ${cause}`,
      );
      new Output(options.json === true).show(page, lines.length > 0 ? lines : ['no job is stuck']);
    });
}

import { writeFileSync } from 'node:fs';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import type { Why } from '../../proof/contract/why.ts';
import { numberOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { addJobsCancel } from './jobs-commands.ts';
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
    ...(job.erased_at === null ? [] : [`  erased ${job.erased_at}`]),
    ...(job.confirmed_by === null ? [] : [`  confirmed by ${job.confirmed_by.join(', ')}`]),
    ...(job.not_checked === null || job.not_checked.length === 0
      ? []
      : [`  not checked: ${job.not_checked.join(', ')}`]),
    ...(job.reason === null ? [] : [`  ${job.reason.code}: ${job.reason.detail}`]),
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
  readonly limit: number;
  readonly cursor?: string;
}

function addList(cli: CallerContext): void {
  cli
    .remote('list', 'list jobs, newest first')
    .option('--state <state>', 'only jobs in this state')
    .option('--model <name>', 'only jobs of this model')
    .option('--limit <n>', 'jobs on a page', numberOf, 20)
    .option('--cursor <cursor>', 'continue where a page ended')
    .action(async (options: ListOptions) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      for (const name of ['state', 'model', 'cursor'] as const)
        if (options[name] !== undefined) query.set(name, options[name]);
      const page = (await cli.client(options).json(`/v1/jobs?${query.toString()}`)) as {
        jobs: JobDocument[];
        next_cursor: string | null;
      };
      const lines = page.jobs.map((job) => {
        const line = `${job.id}  ${job.state.padEnd(9)}  ${job.model}  ${job.created_at}`;
        return job.confirmed_by === null ? line : `${line}  by ${job.confirmed_by.join(', ')}`;
      });
      new Output(options.json === true).show(page, [
        ...lines,
        ...(page.next_cursor === null ? [] : [`more: --cursor ${page.next_cursor}`]),
      ]);
    });
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
    .description('many jobs at once: cancel all that match, or see what is stuck');
  addJobsCancel(cli, jobs);
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

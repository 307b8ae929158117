import type { Command } from 'commander';
import { labelOf, timeOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { Output } from './output.ts';
import { requestBody, withJobFlags, type JobFlags } from './submit-command.ts';

const PATH = '/v1/schedules';

interface Summary {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly cron: string;
  readonly timezone: string;
  readonly model: string;
  readonly overlap: string;
  readonly catch_up: string;
  readonly paused_because: string | null;
  readonly next: readonly string[];
  readonly waiting: { readonly due_at: string; readonly why: Reason | null } | null;
}

interface Reason {
  readonly code: string | null;
  readonly detail: string;
}

interface Schedule extends Summary {
  readonly price: { readonly hold: number; readonly currency: string } | null;
  readonly runs: readonly {
    readonly due_at: string;
    readonly until: string | null;
    readonly outcome: string;
    readonly reason: Reason | null;
    readonly job: string | null;
    readonly state: string | null;
  }[];
}

/** `countersign schedules …`: jobs that are submitted again and again. */
export function addSchedulesCommands(cli: CallerContext): void {
  const schedules = cli.program
    .command('schedules')
    .description('jobs that are submitted again and again, by cron expressions');
  addAdd(cli, schedules);
  addList(cli, schedules);
  addShow(cli, schedules);
  addSwitch(cli, schedules, 'pause', 'submit nothing until it is resumed', true);
  addSwitch(cli, schedules, 'resume', 'go on from now, under the API key of this command', false);
  addRemove(cli, schedules);
}

interface AddOptions extends RemoteOptions, JobFlags {
  readonly cron: string;
  readonly timezone: string;
  readonly name?: string;
  readonly metadata?: readonly [string, string][];
  readonly overlap?: string;
  readonly catchUp?: string;
  readonly start?: string;
  readonly end?: string;
}

function addAdd(cli: CallerContext, schedules: Command): void {
  withJobFlags(cli.remote('add', 'make a schedule; the job is given as in submit', schedules))
    .requiredOption('--cron <expression>', 'minute, hour, day of month, month, weekday; or @hourly, @daily, @weekly, …')
    .option('--timezone <zone>', 'time zone whose clock that names, such as Europe/Berlin', 'UTC')
    .option('--name <text>', 'what it is for')
    .option('--metadata <key=value>', 'a note for programs; as often as needed', collect)
    .option('--overlap <policy>', 'while the job before has not ended: skip, queue or allow; skip by default')
    .option('--catch-up <policy>', 'of times at which the service was away: none, or the newest; none by default')
    .option('--start <time>', 'nothing is due before, ISO 8601', timeOf)
    .option('--end <time>', 'nothing is due after, ISO 8601', timeOf)
    .action(async (prompt: string | undefined, options: AddOptions) => {
      const made = await cli.client(options).json(PATH, 'POST', {
        cron: options.cron,
        timezone: options.timezone,
        request: requestBody(prompt, options),
        name: options.name,
        metadata: options.metadata === undefined ? undefined : Object.fromEntries(options.metadata),
        overlap: options.overlap,
        catch_up: options.catchUp,
        start_at: options.start,
        end_at: options.end,
      });
      show(options, made as Schedule);
    });
}

function collect(text: string, before: readonly [string, string][] = []): [string, string][] {
  return [...before, labelOf(text)];
}

function addList(cli: CallerContext, schedules: Command): void {
  cli
    .remote('list', 'list the schedules of the tenant, newest first', schedules)
    .action(async (options: RemoteOptions) => {
      const all = (await cli.client(options).json(PATH)) as { schedules: Summary[]; most: number };
      new Output(options.json === true).show(all, [
        ...all.schedules.map(lineOf),
        `${all.schedules.length} of at most ${all.most} schedules`,
      ]);
    });
}

function addShow(cli: CallerContext, schedules: Command): void {
  cli
    .remote('show', 'show a schedule: its next times and its last runs', schedules)
    .argument('<id>', 'schedule id')
    .action(async (id: string, options: RemoteOptions) => {
      show(options, (await cli.client(options).json(pathOf(id))) as Schedule);
    });
}

function addSwitch(cli: CallerContext, schedules: Command, word: string, description: string, paused: boolean): void {
  cli
    .remote(word, description, schedules)
    .argument('<id>', 'schedule id')
    .action(async (id: string, options: RemoteOptions) => {
      show(options, (await cli.client(options).json(pathOf(id), 'PATCH', { paused })) as Schedule);
    });
}

function addRemove(cli: CallerContext, schedules: Command): void {
  cli
    .remote('remove', 'delete a schedule; its jobs stay', schedules)
    .argument('<id>', 'schedule id')
    .action(async (id: string, options: RemoteOptions) => {
      const removed = await cli.client(options).json(pathOf(id), 'DELETE');
      new Output(options.json === true).show(removed, [`removed ${id}`]);
    });
}

const pathOf = (id: string) => `${PATH}/${encodeURIComponent(id)}`;

function show(options: RemoteOptions, schedule: Schedule): void {
  const { overlap, catch_up, price, waiting } = schedule;
  new Output(options.json === true).show(schedule, [
    lineOf(schedule),
    `  overlap ${overlap}, catch up ${catch_up}${price === null ? '' : `, at most ${price.hold} millionths of ${price.currency} a job`}`,
    ...schedule.next.map((at) => `  next ${at}`),
    ...(waiting === null ? [] : [`  waiting ${waiting.due_at}  ${whyOf(waiting.why) || 'for the job before it'}`]),
    ...schedule.runs.map(runLine),
  ]);
}

function lineOf({ id, state, cron, timezone, model, name, next, paused_because }: Summary): string {
  const when = paused_because ?? next[0] ?? '';
  return [id, state.padEnd(6), `"${cron}" ${timezone}`, model, when, name].filter((part) => part !== '').join('  ');
}

function runLine({ due_at, until, outcome, job, state, reason }: Schedule['runs'][number]): string {
  const span = until === null ? due_at : `${due_at} to ${until}`;
  return ['  due', span, outcome, job, state, reason && whyOf(reason)].filter((part) => part !== null).join('  ');
}

const whyOf = (reason: Reason | null) =>
  reason === null ? '' : reason.code === null ? reason.detail : `${reason.code}: ${reason.detail}`;

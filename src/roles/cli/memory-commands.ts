import type { Command } from 'commander';
import { readFileSync, writeFileSync } from 'node:fs';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { queryOf } from '../../surfaces/http/caller-api.ts';
import { labelOf, numberOf, timeOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { MemoryOutput } from './memory-output.ts';

const PATH = '/v1/memories';
const READS_AT_ONCE = 200;

interface Origin {
  readonly kind: string;
  readonly at: string;
  readonly from: string | null;
  readonly trust: string;
}

interface State {
  readonly version: number;
  readonly updated_at: string;
  readonly text: string;
  readonly type: string;
  readonly category: string | null;
  readonly trust: string;
  readonly origins: readonly Origin[];
}

interface Memory extends State {
  readonly id: string;
  readonly valid_from: string | null;
  readonly valid_to: string | null;
  readonly supersedes: readonly string[];
  readonly contradicts: readonly string[];
}

interface Found {
  readonly memory: Memory;
  readonly semantic: { readonly rank: number; readonly similarity: number } | null;
  readonly text: {
    readonly rank: number;
    readonly coverage: number;
    readonly counted: boolean;
    readonly words: readonly string[];
  } | null;
}

interface Erasure {
  readonly sha256: string;
  readonly statement: { readonly removed: number; readonly keys_destroyed: string };
}

interface OfOwner extends RemoteOptions {
  readonly owner?: string;
}

/** `countersign memory …`: what an owner has here, where it is from, and who read it. Returns the command. */
export function addMemoryCommands(cli: CallerContext): Command {
  const memory = cli.program
    .command('memory')
    .description('what people and agents keep here: facts, preferences, history');
  addAdd(cli, memory);
  addSearch(cli, memory);
  addList(cli, memory);
  addShow(cli, memory);
  addHistory(cli, memory);
  addCorrect(cli, memory);
  addForget(cli, memory);
  addProfile(cli, memory);
  addReaders(cli, memory);
  addOwners(cli, memory);
  return memory;
}

interface AddOptions extends OfOwner {
  readonly category?: string;
  readonly episodic?: boolean;
  readonly agent?: string;
  readonly thread?: string;
  readonly metadata?: readonly [string, string][];
  readonly supersedes?: readonly string[];
  readonly contradicts?: readonly string[];
  readonly restsOn?: readonly string[];
  readonly saidBy?: string;
  readonly from?: string;
  readonly validFrom?: string;
  readonly validTo?: string;
}

const pairs = (text: string, before?: readonly [string, string][]): [string, string][] => [
  ...(before ?? []),
  labelOf(text),
];
const several = (text: string, before: readonly string[] = []) => [...before, text];

function addAdd(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('add', 'remember a text as it is', memory), true)
    .argument('<text>', 'the text; - reads standard input')
    .option('--category <name>', 'such as health or work')
    .option('--episodic', 'it happened, and is not a fact that holds')
    .option('--agent <name>', 'the agent that it is for')
    .option('--thread <name>', 'the conversation that it belongs to')
    .option('--metadata <key=value>', 'a note for programs; as often as needed', pairs)
    .option('--supersedes <id>', 'a memory whose place it takes; as often as needed', several)
    .option('--contradicts <id>', 'a memory that says otherwise; as often as needed', several)
    .option('--rests-on <id>', 'a memory that it was derived from; as often as needed', several)
    .option('--said-by <who>', 'user, model or tool; user by default')
    .option('--from <name>', 'the name of the model or the tool')
    .option('--valid-from <time>', 'since when it holds, ISO 8601', timeOf)
    .option('--valid-to <time>', 'until when it holds, ISO 8601', timeOf)
    .action(async (text: string, options: AddOptions) => {
      const added = (await cli.client(options).json(PATH, 'POST', {
        owner: options.owner,
        text: text === '-' ? readFileSync(0, 'utf8').trim() : text,
        infer: false,
        type: options.episodic === true ? 'episodic' : undefined,
        category: options.category,
        agent: options.agent,
        thread: options.thread,
        metadata: options.metadata === undefined ? undefined : Object.fromEntries(options.metadata),
        supersedes: options.supersedes,
        contradicts: options.contradicts,
        rests_on: options.restsOn,
        said_by: options.saidBy,
        from: options.from,
        valid_from: options.validFrom,
        valid_to: options.validTo,
      })) as { memories: { outcome: string; memory: Memory }[] };
      new MemoryOutput(options.json === true).show(
        added,
        added.memories.map(({ outcome, memory: one }) => `${outcome}  ${lineOf(one)}`),
      );
    });
}

function addSearch(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('search', 'find memories by meaning and by words, and say why', memory), true)
    .argument('<query>', 'a question, or words')
    .option('--mode <mode>', 'hybrid, semantic or text; hybrid by default')
    .option('--limit <n>', 'results at most', numberOf)
    .option('--category <name>', 'only of this category')
    .option('--trust <least>', 'only what is trusted as user, model, tool or import, or more')
    .action(
      async (
        query: string,
        options: OfOwner & { mode?: string; limit?: number; category?: string; trust?: string },
      ) => {
        const filter = { category: options.category, trust: options.trust };
        const { owner, mode, limit } = options;
        const found = (await cli
          .client(options)
          .json(`${PATH}/search`, 'POST', { owner, query, mode, limit, filter })) as {
          results: Found[];
        };
        new MemoryOutput(options.json === true).show(
          found,
          found.results.flatMap((one) => [lineOf(one.memory), `  ${reasonOf(one)}`]),
        );
      },
    );
}

function reasonOf({ semantic, text }: Found): string {
  const meaning = semantic === null ? [] : [`by meaning ${semantic.rank} (${semantic.similarity.toFixed(3)})`];
  const words =
    text === null
      ? []
      : [
          `by words ${text.rank} (${Math.round(100 * text.coverage)} %: ${text.words.join(', ')}${text.counted ? '' : '; too few to count'})`,
        ];
  return [...meaning, ...words].join(', ');
}

function addList(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('list', 'list memories, newest first', memory), true)
    .option('--category <name>', 'only of this category')
    .option('--superseded', 'those too that another one supersedes')
    .option('--limit <n>', 'memories at most', numberOf)
    .option('--before <id>', 'only those older than this one')
    .action(async (options: OfOwner & { category?: string; superseded?: boolean; limit?: number; before?: string }) => {
      const { owner, category, limit, before } = options;
      const superseded = options.superseded === true ? 'true' : undefined;
      const page = (await cli
        .client(options)
        .json(`${PATH}?${queryOf({ owner, category, superseded, limit, before })}`)) as {
        memories: Memory[];
        next: string | null;
      };
      new MemoryOutput(options.json === true).show(page, [
        ...page.memories.map(lineOf),
        ...(page.next === null ? [] : [`more: --before ${page.next}`]),
      ]);
    });
}

function addShow(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('show', 'show a memory, and where it came from', memory), false)
    .argument('<id>', 'memory id')
    .action(async (id: string, options: OfOwner) => {
      const one = (await cli.client(options).json(pathOf(id, options))) as Memory;
      new MemoryOutput(options.json === true).show(one, [
        lineOf(one),
        ...one.origins.map(originLine),
        ...(one.valid_from === null && one.valid_to === null
          ? []
          : [`  holds from ${one.valid_from ?? 'ever'} to ${one.valid_to ?? 'ever'}`]),
        ...one.supersedes.map((other) => `  supersedes ${other}`),
        ...one.contradicts.map((other) => `  contradicts ${other}`),
      ]);
    });
}

function addHistory(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('history', 'show what a memory said before each correction', memory), false)
    .argument('<id>', 'memory id')
    .action(async (id: string, options: OfOwner) => {
      const history = (await cli.client(options).json(pathOf(id, options, '/history'))) as { versions: State[] };
      new MemoryOutput(options.json === true).show(
        history,
        history.versions.flatMap((state) => [
          `${state.version}  ${state.updated_at}  ${state.trust}  ${JSON.stringify(state.text)}`,
          ...state.origins.map(originLine),
        ]),
      );
    });
}

function addCorrect(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('correct', 'correct what a memory says; the old words stay in its history', memory), false)
    .argument('<id>', 'memory id')
    .argument('[text]', 'the right text')
    .option('--category <name>', 'put it into this category')
    .option('--said-by <who>', 'user, model or tool; user by default')
    .action(async (id: string, text: string | undefined, options: OfOwner & { category?: string; saidBy?: string }) => {
      if (text === undefined && options.category === undefined)
        throw new CodedError('request_invalid', 'Give a text, or --category.');
      const change = { text, category: options.category, said_by: options.saidBy };
      const one = (await cli.client(options).json(pathOf(id, options), 'PATCH', change)) as Memory;
      new MemoryOutput(options.json === true).show(one, [lineOf(one)]);
    });
}

function addForget(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('forget', 'erase memories for good, or with --all an owner with every memory', memory), false)
    .argument('[ids...]', 'memory ids')
    .option('--all', 'erase the owner; needs the scope tenant_admin')
    .option('--receipt <file>', 'save the signed deletion receipt')
    .action(async (ids: string[], options: OfOwner & { all?: boolean; receipt?: string }) => {
      const erased = await forget(cli, ids, options);
      if (options.receipt !== undefined) writeFileSync(options.receipt, `${JSON.stringify(erased, null, 2)}\n`);
      new MemoryOutput(options.json === true).show(
        erased,
        erased.erasures.map(
          ({ sha256, statement }) =>
            `erased ${statement.removed}; keys destroyed: ${statement.keys_destroyed}; receipt ${sha256}`,
        ),
      );
    });
}

async function forget(
  cli: CallerContext,
  ids: readonly string[],
  options: OfOwner & { all?: boolean },
): Promise<{ erasures: Erasure[] }> {
  const { owner } = options;
  if (options.all === true) {
    if (owner === undefined || ids.length > 0)
      throw new CodedError('request_invalid', 'With --all, name the --owner and no memory.');
    const path = `/v1/owners/${encodeURIComponent(owner)}`;
    return { erasures: [(await cli.client(options).json(path, 'DELETE')) as Erasure] };
  }
  if (ids.length === 0) throw new CodedError('request_invalid', 'Name the memories, or give --all and --owner.');
  return (await cli.client(options).json(`${PATH}/batch-delete`, 'POST', { owner, ids })) as { erasures: Erasure[] };
}

interface Profile {
  readonly sections: readonly {
    readonly type: string;
    readonly category: string | null;
    readonly lines: readonly (Pick<Memory, 'text' | 'trust'> & {
      readonly memories: readonly string[];
      readonly contradicted_by: readonly string[];
    })[];
  }[];
  readonly left_out: number;
}

function addProfile(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('profile', 'show what is known of an owner, and by which memories', memory), true)
    .option('--limit <n>', 'lines at most', numberOf)
    .option('--category <name>', 'only of this category')
    .option('--trust <least>', 'only what is trusted as user, model, tool or import, or more')
    .action(async (options: OfOwner & { limit?: number; category?: string; trust?: string }) => {
      const { owner = '', limit, category, trust } = options;
      const path = `/v1/owners/${encodeURIComponent(owner)}/profile?${queryOf({ limit, category, trust })}`;
      const profile = (await cli.client(options).json(path)) as Profile;
      new MemoryOutput(options.json === true).show(profile, [
        ...profile.sections.flatMap(({ type, category: of, lines }) => [
          of === null ? type : `${type}, ${of}`,
          ...lines.map(
            ({ text, trust: trusted, memories, contradicted_by: against }) =>
              `  ${JSON.stringify(text)}  ${trusted}  ${memories.join(' ')}${against.length === 0 ? '' : `  but ${against.join(' ')}`}`,
          ),
        ]),
        ...(profile.left_out === 0 ? [] : [`left out: ${profile.left_out}; give a higher --limit`]),
      ]);
    });
}

interface Read {
  readonly number: number;
  readonly at: string;
  readonly by: string;
  readonly action: string;
  readonly memories: readonly string[];
}

interface Reads {
  readonly reads: readonly Read[];
  readonly next: number | null;
}

function addReaders(cli: CallerContext, memory: Command): void {
  withOwner(cli.remote('readers', 'list who has read memories of an owner, newest first', memory), true)
    .option('--limit <n>', 'reads at most', numberOf)
    .option('--before <n>', 'only those before the one of this number', numberOf)
    .option('--all', 'everything that is kept; with --json one line for each read')
    .action(async (options: OfOwner & { limit?: number; before?: number; all?: boolean }) => {
      const { owner = '', limit, before, all = false, json = false } = options;
      const pageOf = async (from: number | undefined, most: number | undefined) =>
        (await cli
          .client(options)
          .json(`/v1/owners/${encodeURIComponent(owner)}/readers?${queryOf({ limit: most, before: from })}`)) as Reads;
      const output = new MemoryOutput(json);
      if (!all) {
        const page = await pageOf(before, limit);
        output.show(page, [
          ...page.reads.map(readLine),
          ...(page.next === null ? [] : [`more: --before ${page.next}`]),
        ]);
        return;
      }
      if (limit !== undefined) throw new CodedError('request_invalid', 'Give --all or --limit.');
      for (let from: number | null | undefined = before; from !== null;) {
        const page = await pageOf(from, READS_AT_ONCE);
        for (const read of page.reads) output.show(read, [readLine(read)]);
        from = page.next;
      }
    });
}

const readLine = ({ at, by, action, memories }: Read) => `${at}  ${by}  ${action}  ${memories.join(' ')}`;

function addOwners(cli: CallerContext, memory: Command): void {
  cli.remote('owners', 'list whose memories the tenant keeps', memory).action(async (options: RemoteOptions) => {
    const { owners } = (await cli.client(options).json('/v1/owners')) as { owners: string[] };
    new MemoryOutput(options.json === true).show({ owners }, owners);
  });
}

function withOwner(command: Command, isNeeded: boolean): Command {
  return isNeeded
    ? command.requiredOption('--owner <name>', 'whose memory it is')
    : command.option('--owner <name>', 'whose memory it is, where several have one of this id');
}

const pathOf = (id: string, { owner }: OfOwner, more = '') =>
  `${PATH}/${encodeURIComponent(id)}${more}?${queryOf({ owner })}`;

function lineOf({ id, trust, category, text, version }: Memory): string {
  const facts = [trust, ...(category === null ? [] : [category]), ...(version === 1 ? [] : [`version ${version}`])];
  return `${id}  ${facts.join(', ')}  ${JSON.stringify(text)}`;
}

function originLine({ kind, at, from, trust }: Origin): string {
  return `  from ${kind}${from === null ? '' : ` ${from}`} at ${at}${trust === kind ? '' : `, trusted as ${trust}`}`;
}

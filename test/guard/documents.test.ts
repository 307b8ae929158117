import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { SPAN_ATTRIBUTES, SPAN_TABLE } from '../../src/ground/tracing/span-table.ts';
import { ROOT } from '../support/redis.ts';

const UNWRITTEN = new Set(['.git', 'node_modules', 'dist', '.cache', '.countersign', 'coverage']);
const TOP_FOLDERS = /^(?:src|test|docs|scripts|bench|deploy|examples|models)\//;
const SOURCE_FILE = /\.(?:ts|lua|mjs|cjs|yml|md|py)$/;

interface Command {
  readonly name: string;
  readonly options: readonly string[];
  readonly commands: readonly Command[];
}
const Command: z.ZodType<Command> = z.lazy(() =>
  z.object({ name: z.string(), options: z.array(z.string()), commands: z.array(Command) }),
);

/** What documents may name. */
interface Things {
  /** Every file and folder of the repository, relative to its root. */
  readonly paths: readonly string[];
  readonly scripts: readonly string[];
  readonly variables: ReadonlySet<string>;
  readonly cli: Command;
}

function pathsUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !UNWRITTEN.has(name))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      const own = relative(ROOT, path).split(sep).join('/');
      return entry.isDirectory() ? [own, ...pathsUnder(path)] : [own];
    });
}

/** The variables of every role's schema, and those that the code reads by name. */
async function variablesOf(paths: readonly string[]): Promise<Set<string>> {
  const variables = new Set<string>();
  for (const path of paths.filter((name) => /^src\/roles\/[^/]+\/[^/]+-config\.ts$/.test(name))) {
    const exported: unknown = await import(pathToFileURL(join(ROOT, path)).href);
    for (const value of Object.values(z.looseObject({}).parse(exported)))
      if (value instanceof z.ZodObject) for (const name of Object.keys(value.shape)) variables.add(name);
  }
  for (const path of paths.filter((name) => /^(?:src|examples|test)\/.*\.(?:ts|mjs)$/.test(name)))
    for (const [, name = ''] of textOf(path).matchAll(
      /(?:process\.env(?:\['|\.)|#(?:pick|value)\(')(COUNTERSIGN_\w+)/g,
    ))
      variables.add(name);
  return variables;
}

/** The commands of the built CLI, as commander knows them. A process of its own lists them and runs none. */
function commandsOf(cli: string): Command {
  const list = `
    import { Command } from 'commander';
    const tree = (command) => ({
      name: command.name(),
      options: command.options.map(({ long }) => long),
      commands: command.commands.map(tree),
    });
    Command.prototype.parseAsync = async function () { process.stdout.write(JSON.stringify(tree(this))); };
    await import(${JSON.stringify(pathToFileURL(cli).href)});`;
  // From within the build, so that its own commander is the one that lists them.
  const cwd = join(ROOT, 'dist');
  const text = execFileSync(process.execPath, ['--input-type=module', '--eval', list], { cwd, encoding: 'utf8' });
  return Command.parse(JSON.parse(text));
}

const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const scriptsOf = (): string[] =>
  Object.keys(
    z.object({ scripts: z.record(z.string(), z.string()) }).parse(JSON.parse(textOf('package.json'))).scripts,
  );

const withoutFences = (text: string): string => text.replace(/^( *)```[\s\S]*?^\1```$/gm, '');

/** What stands between backticks in running text. */
const spansOf = (text: string): string[] =>
  [...withoutFences(text).matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);

/** What a reader is told to type: spans, and the lines of console sessions that begin with a prompt. */
function commandLinesOf(text: string): string[] {
  const sessions = [...text.matchAll(/^ *\$ (.*(?:\\\n.*)*)/gm)].map(([, line = '']) => line.replace(/\\\n/g, ' '));
  return [...spansOf(text), ...sessions].flatMap((line) => line.split(/&&|\|/)).map((line) => line.trim());
}

/** The heading as the anchor that Git hosts make of it. */
const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replace(/ /g, '-');

const anchorsOf = (text: string): string[] =>
  [...withoutFences(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading));

function brokenLinks(document: string, text: string): string[] {
  return [...withoutFences(text).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? join(ROOT, document) : join(ROOT, dirname(document), path);
    if (path !== '' && !existsSync(file)) return [`link ${target}`];
    const anchors = path === '' ? anchorsOf(text) : anchor === undefined ? [] : anchorsOf(readFileSync(file, 'utf8'));
    return anchor === undefined || anchors.includes(anchor) ? [] : [`link ${target}`];
  });
}

/** A path with `<name>` or `*` in it stands for any file of that form, a bare name for any file. */
function isThere(span: string, paths: readonly string[]): boolean {
  const form = span
    .replace(/\/$/, '')
    .split(/<[^>]*>|\*+/)
    .map((part) => part.replace(/[.+?^$()[\]{}|\\]/g, '\\$&'))
    .join('[^/]+');
  const begin = TOP_FOLDERS.test(span) ? '^' : span.startsWith('.') ? '' : '(?:^|/)';
  const pattern = new RegExp(`${begin}${form}$`);
  return paths.some((path) => pattern.test(path));
}

function missingPaths(text: string, paths: readonly string[]): string[] {
  return spansOf(text)
    .filter((span) => /^[\w.@<>*/-]+$/.test(span) && (TOP_FOLDERS.test(span) || SOURCE_FILE.test(span)))
    .filter((span) => !isThere(span, paths))
    .map((span) => `path ${span}`);
}

function unknownScripts(text: string, scripts: readonly string[]): string[] {
  return [...text.matchAll(/npm run ([\w:-]+)/g)]
    .filter(([, name = '']) => !scripts.includes(name))
    .map(([call]) => `script ${call}`);
}

/** Code that a recipe has its reader write may name a variable that is not there yet. */
function unknownVariables(text: string, variables: ReadonlySet<string>): string[] {
  const claims = text.replace(/^( *)```ts$[\s\S]*?^\1```$/gm, '');
  return [...claims.matchAll(/COUNTERSIGN_\w+/g)]
    .filter(([name]) => !variables.has(name))
    .map(([name]) => `variable ${name}`);
}

/** Follows the words of a call down the commands. The rest are arguments, where no command can be. */
function unknownCommands(text: string, cli: Command): string[] {
  return commandLinesOf(text).flatMap((line) => {
    const call = /^(?:npx )?countersign (?=[a-z-])(.*)$/s.exec(line)?.[1]?.split(/\s+/);
    if (call === undefined) return [];
    let command = cli;
    for (const word of call) {
      const next = command.commands.find(({ name }) => name === word);
      if (next === undefined && command.commands.length > 0 && /^[a-z]/.test(word)) return [`command ${line}`];
      if (next === undefined) break;
      command = next;
    }
    const known = [...command.options, ...cli.options, '--help'];
    return call
      .flatMap((word) => /^\[?(--[a-z][a-z0-9-]*)/.exec(word)?.[1] ?? [])
      .filter((option) => !known.includes(option))
      .map((option) => `option ${option} of ${line}`);
  });
}

function findings(document: string, text: string, things: Things): string[] {
  // The changelog names what is gone, for whoever upgrades.
  const gone = document === 'CHANGELOG.md';
  return [
    ...brokenLinks(document, text),
    ...unknownScripts(text, things.scripts),
    ...unknownCommands(text, things.cli),
    ...(gone ? [] : missingPaths(text, things.paths)),
    ...(gone ? [] : unknownVariables(text, things.variables)),
  ].map((finding) => `${document}: ${finding}`);
}

async function allThings(): Promise<Things> {
  const paths = pathsUnder(ROOT);
  const cli = commandsOf(join(ROOT, 'dist', 'roles', 'cli', 'main.js'));
  return { paths, scripts: scriptsOf(), variables: await variablesOf(paths), cli };
}

describe('documents', () => {
  test('every link, path, script, variable and command that a document names is there', async () => {
    const things = await allThings();
    const documents = things.paths.filter((path) => path.endsWith('.md'));
    expect(documents).toContain('docs/architecture.md');
    expect(documents.flatMap((path) => findings(path, textOf(path), things))).toEqual([]);
  });

  test('the picture of the floors has every folder of every floor', () => {
    const [picture = ''] = /```\n[\s\S]*?```/.exec(textOf('docs/architecture.md')) ?? [];
    const folders = ['roles', 'surfaces', 'core', 'proof', 'ground'].flatMap((floor) =>
      readdirSync(join(ROOT, 'src', floor), { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [entry.name] : [],
      ),
    );
    expect(folders.filter((folder) => !picture.split(/\s+/).includes(folder))).toEqual([]);
  });

  test('a name that is not there is found, whatever kind it is of', async () => {
    const things = await allThings();
    const text = [
      '[gone](docs/gone.md), [no heading](docs/keys.md#gone), [there](docs/keys.md#enrol-a-worker)',
      '`src/gone.ts`, `gone.lua`, `src/core/gone-<name>.ts`, `src/roles/<role>/main.ts`, `.gone.ts`, `.store.ts`',
      '`npm run gone`, `npm run check`',
      '`COUNTERSIGN_GONE`, `COUNTERSIGN_POOL`',
      '`countersign gone`, `countersign keys gone`, `countersign keys new FILE`, `countersign get job_… --gone`',
      '```console\n$ npx countersign get job_… --receipt receipt.json && npx countersign vanish\n```',
    ].join('\n');
    expect(findings('README.md', text, things)).toEqual([
      'README.md: link docs/gone.md',
      'README.md: link docs/keys.md#gone',
      'README.md: script npm run gone',
      'README.md: command countersign gone',
      'README.md: command countersign keys gone',
      'README.md: option --gone of countersign get job_… --gone',
      'README.md: command npx countersign vanish',
      'README.md: path src/gone.ts',
      'README.md: path gone.lua',
      'README.md: path src/core/gone-<name>.ts',
      'README.md: path .gone.ts',
      'README.md: variable COUNTERSIGN_GONE',
    ]);
  });
});

test('the document of traces names each span with its kind, and each thing that one may say', () => {
  const text = readFileSync(join(ROOT, 'docs', 'tracing.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` +\| (\w+) +\|/gm)].map(([, name, kind]) => [name, kind]);
  expect(rows).toEqual(Object.entries(SPAN_TABLE).map(([name, { kind }]) => [name, kind]));
  const [, said = ''] = text.split('## What a span says');
  const [listed = ''] = said.split('A trace is no proof');
  expect([...listed.matchAll(/`([a-z_.]+)`/g)].map(([, name]) => name)).toEqual(Object.keys(SPAN_ATTRIBUTES));
});

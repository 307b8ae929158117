import {
  createReadStream,
  createWriteStream,
  existsSync,
  readdirSync,
  renameSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Option, type Command } from 'commander';
import { openZip } from '../../ground/archive/zip-files.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readBundle, writtenPart } from '../../proof/memory/bundle-reader.ts';
import { BundleRefused } from '../../proof/memory/bundle-tally.ts';
import {
  ImportTally,
  requireKept,
  type ImportReport,
  type KeptItem,
} from '../../surfaces/memory-exchange/import-report.ts';
import type { ImportFile, ImportItem } from '../../surfaces/memory-exchange/imported.ts';
import { importItems, localFile } from '../../surfaces/memory-exchange/import-files.ts';
import { writeMem } from '../../surfaces/memory-exchange/mem-export.ts';
import { isMemBundle, memItems, openMem } from '../../surfaces/memory-exchange/mem-import.ts';
import { markdownOf, mem0ListOf, transferTextOf } from '../../surfaces/memory-exchange/text-exports.ts';
import type { ApiClient } from './api-client.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { naming } from './memory-bundle-file.ts';
import { MemoryOutput } from './memory-output.ts';
import { ProgressBar } from './progress-bar.ts';

const FORMS = ['mem', 'mem0', 'markdown', 'text'] as const;
type Form = (typeof FORMS)[number];

/** A request takes at most so many things of each kind, and so many bytes. */
const PAGE_ITEMS = 100;
const PAGE_BYTES = 700_000;

/** `countersign memory export`, `import` and `convert`: memories in files, to and from an instance. */
export function addMemoryCarryCommands(cli: CallerContext, memory: Command): void {
  cli
    .remote('export', 'carry all memories of an owner away, as a signed bundle', memory)
    .argument('<file>', 'bundle to write; one that was cut off (<file>.part) is gone on with')
    .requiredOption('--owner <name>', 'whose memories')
    .action((file: string, options: RemoteOptions & { owner: string }) => exportTo(cli.client(options), file, options));
  cli
    .remote('import', 'take memories in: bundles, .mem, exports of ChatGPT, Claude and Mem0, Markdown, text', memory)
    .argument('<files...>', 'files, zips or a .mem folder; what is understood stands in docs/memory-import.md')
    .requiredOption('--owner <name>', 'whose memories they become')
    .option('--user <id>', 'the user of a Mem0 export who is meant, where it names several')
    .option('--dry-run', 'say what would become of each, and change nothing')
    .action((files: string[], options: ImportOptions) => importFrom(cli.client(options), files, options));
  memory
    .command('convert')
    .description('write a memory bundle in another form, offline')
    .argument('<bundle>', 'bundle file')
    .argument('<to>', 'file to write; a folder for .mem')
    .addOption(new Option('--to <form>', 'form').choices(FORMS).makeOptionMandatory())
    .action((bundle: string, to: string, { to: form }: { to: Form }) => convert(bundle, to, form));
}

async function exportTo(
  api: ApiClient,
  file: string,
  { owner, json }: RemoteOptions & { owner: string },
): Promise<void> {
  if (existsSync(file)) throw new CodedError('request_invalid', `${file} exists already.`);
  const part = `${file}.part`;
  const from = existsSync(part) ? await bytesToKeep(part) : 0;
  if (existsSync(part)) truncateSync(part, from);
  const query = new URLSearchParams({ owner, from_byte: String(from) });
  const pieces = api.pieces(`/v1/memories/export?${query.toString()}`);
  await pipeline(
    Readable.from(new ProgressBar('bytes', undefined).through(pieces, ({ length }) => length)),
    createWriteStream(part, { flags: 'a' }),
  );
  const counts = await countsOf(part);
  renameSync(part, file);
  new MemoryOutput(json === true).show({ file, ...counts }, [
    `${file}: ${counts.entries} memories, ${counts.tombstones} tombstones, verified`,
  ]);
}

async function bytesToKeep(part: string): Promise<number> {
  return (await naming(part, () => writtenPart(createReadStream(part)))).bytes;
}

async function countsOf(path: string): Promise<{ entries: number; tombstones: number }> {
  return naming(path, async () => {
    for await (const reading of readBundle(createReadStream(path))) {
      if (reading.kind !== 'manifest') continue;
      const { entries, tombstones } = reading.line.manifest.records;
      return { entries, tombstones };
    }
    throw new BundleRefused('The bundle has no manifest.');
  });
}

interface ImportOptions extends RemoteOptions {
  readonly owner: string;
  readonly user?: string;
  readonly dryRun?: boolean;
}

type Outcomes = Record<string, number>;

async function importFrom(
  api: ApiClient,
  files: string[],
  { owner, user, dryRun = false, json }: ImportOptions,
): Promise<void> {
  const out = new MemoryOutput(json === true);
  const tally = new ImportTally();
  const bar = new ProgressBar('memories read', undefined);
  const outcomes: Outcomes = {};
  const conflicts: string[] = [];
  let page: KeptItem[] = [];
  let bytes = 0;
  const send = async (): Promise<void> => {
    if (page.length > 0) await sendPage(api, owner, dryRun, page, outcomes, conflicts);
    [page, bytes] = [[], 0];
    bar.at(tally.report().read);
  };
  try {
    for (const file of files) {
      for await (const item of itemsIn(file, user)) {
        const kept = tally.take(item);
        if (kept === undefined) continue;
        const length = JSON.stringify(kept).length * 2;
        if (page.length >= PAGE_ITEMS || bytes + length > PAGE_BYTES) await send();
        page.push(kept);
        bytes += length;
      }
    }
    await send();
  } finally {
    bar.end();
  }
  const report = tally.report();
  requireKept(report);
  out.show({ dry_run: dryRun, ...report, outcomes, conflicts }, reportLines(report, outcomes, conflicts, dryRun));
}

const MAX_CONFLICTS_SHOWN = 1_000;

async function sendPage(
  api: ApiClient,
  owner: string,
  dryRun: boolean,
  page: readonly KeptItem[],
  outcomes: Outcomes,
  conflicts: string[],
): Promise<void> {
  const answer = (await api.json('/v1/memories/import', 'POST', {
    owner,
    dry_run: dryRun,
    entries: page.flatMap((item) => (item.kind === 'entry' ? [item.entry] : [])),
    tombstones: page.flatMap((item) => (item.kind === 'tombstone' ? [item.tombstone] : [])),
    memories: page.flatMap((item) => (item.kind === 'memory' ? [item.memory] : [])),
  })) as Record<'entries' | 'tombstones' | 'memories', { id: string | null; outcome: string; why?: string }[]>;
  for (const { id, outcome, why } of [...answer.tombstones, ...answer.entries, ...answer.memories]) {
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (['conflict', 'buried', 'refused'].includes(outcome) && conflicts.length < MAX_CONFLICTS_SHOWN)
      conflicts.push(`${outcome} ${id ?? ''}${why === undefined ? '' : `: ${why}`}`);
  }
}

function reportLines(report: ImportReport, outcomes: Outcomes, conflicts: string[], dryRun: boolean): string[] {
  return [
    `${report.read} read, ${report.kept} kept, ${report.faults} faults${dryRun ? ' (nothing was changed)' : ''}`,
    ...Object.entries(report.skipped).map(([reason, count]) => `  skipped  ${count} ${reason}`),
    ...report.first_faults.map(({ where, why }) => `  fault    ${where}: ${why}`),
    ...Object.entries(outcomes).map(([outcome, count]) => `  ${dryRun ? 'would be' : 'became'}  ${count} ${outcome}`),
    ...conflicts.map((one) => `  ${one}`),
  ];
}

/** What a file or folder says: a memory bundle, a .mem folder, or the export of another product. */
async function* itemsIn(path: string, user: string | undefined): AsyncGenerator<ImportItem> {
  if (statSync(path).isDirectory()) {
    const files = filesBelow(path);
    if (!isMemBundle(files)) throw new CodedError('import_refused', `${path} is no .mem bundle: it has no manifest.`);
    yield* memItems(await openMem(files));
  } else if (await isBundle(path)) {
    // Read to its end first: nothing is taken in of a bundle that was changed anywhere.
    await countsOf(path);
    yield* bundleItems(path);
  } else if (/\.zip$/i.test(path)) {
    using zip = await openZip(path);
    if (isMemBundle(zip.files)) yield* memItems(await openMem(zip.files));
    else yield* importItems([localFile(path)], { user });
  } else yield* importItems([localFile(path)], { user });
}

const MAX_FOLDER_FILES = 1_000;

function filesBelow(folder: string): ImportFile[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  if (files.length > MAX_FOLDER_FILES)
    throw new CodedError('import_refused', `${folder} has more than ${MAX_FOLDER_FILES} files.`);
  return files.map((one) => {
    const path = join(one.parentPath, one.name);
    return { name: relative(folder, path), open: () => createReadStream(path) };
  });
}

async function isBundle(path: string): Promise<boolean> {
  for await (const piece of createReadStream(path, { end: 20 }) as AsyncIterable<Buffer>)
    return piece.toString('latin1').startsWith('{"format":"countersig');
  return false;
}

async function* bundleItems(path: string): AsyncGenerator<ImportItem> {
  for await (const reading of readBundle(createReadStream(path)))
    if (reading.kind === 'entry') yield { kind: 'entry', entry: reading.entry, where: reading.entry.id };
    else if (reading.kind === 'tombstone')
      yield { kind: 'tombstone', tombstone: reading.tombstone, where: reading.tombstone.id };
}

async function convert(bundle: string, to: string, form: Form): Promise<void> {
  if (existsSync(to)) throw new CodedError('request_invalid', `${to} exists already.`);
  const counts = await countsOf(bundle);
  const readings = readBundle(createReadStream(bundle));
  if (form === 'mem') await writeMem(readings, to);
  else await pipeline(Readable.from(textOf(form, readings)), createWriteStream(to, { flags: 'wx' }));
  new MemoryOutput(false).say(`${to}: ${counts.entries} memories`);
}

function textOf(form: Exclude<Form, 'mem'>, readings: ReturnType<typeof readBundle>): AsyncGenerator<string> {
  if (form === 'markdown') return markdownOf(readings);
  return form === 'text' ? transferTextOf(readings) : mem0ListOf(readings, 'owner');
}

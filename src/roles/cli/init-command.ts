import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { z } from 'zod';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { parseS3Place } from '../../ground/config/s3-place.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { LogRefused } from '../../proof/tlog/signed-note.ts';
import { apiUrl, readDocument } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import { keptCatalog, keptPlan, writeInstallation, type CatalogText } from './installation-files.ts';
import { InstallationPlan, gatewayFolders, invitedFolders, workerFolders, type PoolPlan } from './installation-plan.ts';
import { Output, jsonOption } from './output.ts';
import { S3_KEY } from './role-environments.ts';
import { demonstrationCatalog } from './set-up.ts';

interface InitFlags {
  readonly catalog?: string;
  readonly gateways?: string;
  readonly workers?: string;
  readonly invited?: string;
  readonly redisUrl?: string;
  readonly url?: string;
  readonly tenant?: string;
  readonly operator?: string;
  readonly shard?: string;
  readonly origin?: string;
  readonly witness: readonly string[];
  readonly s3?: string;
  readonly s3Endpoint?: string;
  readonly s3Region?: string;
  readonly owner?: string;
  readonly program?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** `countersign init`: a whole installation for several machines, as folders to copy. */
export function addInitCommand({ program }: CliContext): void {
  program
    .command('init')
    .description(
      'write an installation for several machines: keys, Redis users, a folder for each role, compose file, units',
    )
    .argument('[folder]', 'an empty folder, or one where this command was interrupted', 'installation')
    .option('--catalog <file>', 'model catalog; by default that of the demonstration models')
    .option('--workers <list>', 'workers of each pool, such as default=2,gpu=8')
    .option(
      '--invited <list>',
      'how many containers of each pool may be started besides, such as default=16: --scale join-default=4',
    )
    .option('--gateways <list>', 'pools that workers of others join through a gateway, such as default,gpu')
    .option('--redis-url <url>', 'address of Redis for all roles; by default that of the compose file')
    .option('--url <url>', 'address of the API for those who send jobs')
    .option('--tenant <name>', 'the first tenant')
    .option('--operator <name>', 'who runs the workers')
    .option('--shard <name>', 'name of the shard')
    .option('--origin <name>', 'name of the transparency log in its checkpoints, such as log.example.org')
    .option(
      '--witness <"name vkey url">',
      'a witness whose cosignature counts; more than half of them must sign',
      collect,
      [],
    )
    .option('--s3 <address>', 'where blobs, files and the log are in S3, such as s3://bucket/prefix; else in folders')
    .option('--s3-endpoint <url>', 'address of the server of S3; by default AWS in the region')
    .option('--s3-region <name>', 'its region; us-east-1 by default')
    .option('--owner <uid:gid>', 'owner of files and processes; by default who runs this, or 1000:1000 for root')
    .option('--program <folder>', 'where the program stands on machines without containers')
    .option('--yes', 'ask nothing')
    .addOption(jsonOption())
    .action(async (folder: string, flags: InitFlags) => {
      const out = new Output(flags.json === true);
      const catalog = catalogOf(folder, flags);
      const plan = writtenPlan(folder, await answered(folder, flags, catalog), catalog);
      out.show({ folder: resolve(folder), plan }, whatNext(resolve(folder), plan));
    });
}

const collect = (value: string, before: readonly string[]): string[] => [...before, value];

function writtenPlan(folder: string, asked: InstallationPlan, catalog: CatalogText): InstallationPlan {
  try {
    return writeInstallation(folder, asked, catalog);
  } catch (cause) {
    if (!(cause instanceof LogRefused)) throw cause;
    throw new CodedError('request_invalid', `The witnesses make no log policy: ${cause.message}`, { cause });
  }
}

const RawCatalog = z.strictObject({
  version: z.literal(1),
  models: z.array(z.record(z.string(), z.unknown())).min(1),
});

/**
 * The catalog given, the one of the interrupted run, or the demonstration's. Throws CodedError
 * `catalog_invalid`.
 */
function catalogOf(folder: string, flags: InitFlags): CatalogText {
  const given = flags.catalog ?? keptPlan(folder)?.catalog;
  const file =
    given !== undefined && existsSync(given) ? given : existsSync(keptCatalog(folder)) ? keptCatalog(folder) : given;
  if (file === undefined)
    return {
      json: RawCatalog.parse(demonstrationCatalog({ catalog: () => resolve('models.json') })),
      folder: resolve('.'),
    };
  // Checked as the roles will check it; the file itself is kept as it was written.
  readCatalog(file);
  return { json: readDocument(RawCatalog, file), folder: dirname(resolve(file)) };
}

/** The plan by flags, an interrupted run, what is answered on a terminal, or by default, in this order. */
async function answered(folder: string, flags: InitFlags, catalog: CatalogText): Promise<InstallationPlan> {
  const kept = keptPlan(folder);
  const isAsking = flags.yes !== true && kept === undefined && process.stdin.isTTY && process.stdout.isTTY;
  const terminal = isAsking ? createInterface({ input: process.stdin, output: process.stdout }) : undefined;
  const ask = async (given: string | undefined, question: string, fallback: string): Promise<string> => {
    if (given !== undefined || terminal === undefined) return given ?? fallback;
    return (await terminal.question(`${question} [${fallback}] `)).trim() || fallback;
  };
  try {
    const redisUrl = await ask(
      flags.redisUrl ?? kept?.redisUrl,
      'address of Redis for all roles',
      'redis://redis:6379',
    );
    const url = await ask(
      flags.url ?? kept?.url,
      'address of the API for those who send jobs',
      'http://127.0.0.1:8181',
    );
    const tenant = await ask(flags.tenant ?? kept?.tenant, 'name of the first tenant', 'first');
    const names = poolsOf(catalog);
    const usual = names
      .map((name) => `${name}=${kept?.pools.find((pool) => pool.name === name)?.workers ?? 2}`)
      .join(',');
    const workers = workersOf(await ask(flags.workers, 'workers of each pool', usual), names, usual);
    const invited = flags.invited === undefined ? undefined : workersOf(flags.invited, names, usual, 'invited');
    const gateways = flags.gateways === undefined ? undefined : poolNames(flags.gateways, names);
    const draft = {
      version: 1,
      pools: names.map((name) => ({
        ...poolPlan(name, workers.get(name) ?? 0, catalog),
        gateway: gateways?.includes(name) ?? kept?.pools.find((pool) => pool.name === name)?.gateway ?? false,
        invited: invited?.get(name) ?? kept?.pools.find((pool) => pool.name === name)?.invited ?? 0,
      })),
      attestorOutside: needsOutside(flags.witness, catalog),
      catalog: flags.catalog === undefined ? kept?.catalog : resolve(flags.catalog),
      redisUrl,
      url: apiUrl(url),
      shard: flags.shard ?? kept?.shard ?? 'cs',
      origin: flags.origin ?? kept?.origin,
      witnesses: flags.witness.length > 0 ? [...flags.witness] : (kept?.witnesses ?? []),
      operator: flags.operator ?? kept?.operator ?? 'local',
      tenant,
      owner: flags.owner ?? kept?.owner ?? ownOwner(),
      objects: objectsOf(flags) ?? kept?.objects,
      program: flags.program ?? kept?.program ?? '/opt/countersign',
    };
    return planOf(draft);
  } finally {
    terminal?.close();
  }
}

/**
 * Where the flags put what roles share; undefined where they name no place. Throws CodedError
 * `request_invalid`.
 */
function objectsOf({ s3: place, s3Endpoint: endpoint, s3Region: region }: InitFlags) {
  if (place === undefined && (endpoint ?? region) !== undefined)
    throw new CodedError('request_invalid', 'Say with --s3 which bucket of that server it is.');
  if (place !== undefined && parseS3Place(place) === undefined)
    throw new CodedError('request_invalid', `--s3 must be an address such as s3://bucket/prefix, and not ${place}.`);
  return place === undefined ? undefined : { place, endpoint, region };
}

function planOf(draft: unknown): InstallationPlan {
  const parsed = InstallationPlan.safeParse(draft);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new CodedError('request_invalid', `${problems.join('; ')}.`);
}

function poolsOf({ json }: CatalogText): string[] {
  return [...new Set(json.models.map((model) => String(model['pool'])))];
}

function poolPlan(name: string, workers: number, { json }: CatalogText): Omit<PoolPlan, 'invited' | 'gateway'> {
  const models = json.models.filter((model) => model['pool'] === name);
  return {
    name,
    workers,
    gpu: models.some((model) => model['gpu'] === true),
    outside: models.some((model) => typeof model['baseUrl'] === 'string'),
  };
}

/** An attestor talks to witnesses, and to the servers that replay tokens for it. */
function needsOutside(witnesses: readonly string[], { json }: CatalogText): boolean {
  return witnesses.length > 0 || json.models.some((model) => /https?:/.test(JSON.stringify(model['replay'] ?? null)));
}

/** `default=2,gpu=8` by pool. Throws CodedError `request_invalid` for a pool that is not in the catalog. */
function workersOf(text: string, pools: readonly string[], usual: string, flag = 'workers'): Map<string, number> {
  const counts = new Map<string, number>();
  for (const part of text.split(',')) {
    const [, pool = '', count = ''] = /^\s*([^=\s]+)\s*=\s*(\d{1,5})\s*$/.exec(part) ?? [];
    if (!pools.includes(pool))
      throw new CodedError('request_invalid', `${part.trim()} names no pool of the catalog with a number of workers.`, {
        hint: `write --${flag} ${usual}`,
      });
    counts.set(pool, Number(count));
  }
  return counts;
}

/** Names of pools. Throws CodedError `request_invalid` for one that is not in the catalog. */
function poolNames(text: string, pools: readonly string[]): string[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !pools.includes(name));
  if (unknown !== undefined) throw new CodedError('request_invalid', `The catalog has no pool ${unknown}.`);
  return names;
}

function ownOwner(): string {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  return uid === 0 ? '1000:1000' : `${uid}:${gid}`;
}

/** The last thing that the command says: what to copy where, and how to start. */
function whatNext(folder: string, plan: InstallationPlan): string[] {
  const workers = workerFolders(plan).map((worker) => worker.folder);
  const list = workers.length > 3 ? `${workers[0] ?? ''} … ${workers.at(-1) ?? ''}` : workers.join(', ');
  return [
    `made       ${folder}, with secrets of mode 600 that belong to ${plan.owner}`,
    `one host   cd ${folder} && docker compose up --build --detach`,
    `or copy    place.sh, systemd, models and the folders of its own roles to each machine: redis, api, attestor, courier, ${list}`,
    `           there, as root: sh place.sh <folder>… puts them where they belong; the program is to be built in ${plan.program}`,
    `           Redis is to be at ${plan.redisUrl}; the machines share blobs as docs/operations.md says`,
    ...(plan.objects === undefined
      ? []
      : [
          `keys of S3 write the id and the secret of its key, a line each, into ${S3_KEY} of each role: docs/object-storage.md`,
        ]),
    `start      systemctl enable --now countersign-<folder>…`,
    ...invitedFolders(plan).map(
      ({ folder: service, pool }) =>
        `scale      docker compose up --detach --scale ${service}=4: up to ${pool.invited} workers of ${pool.name} make a key and are let in`,
    ),
    ...gatewayFolders(plan).map(
      ({ folder: service, pool, port }) =>
        `gateway    ${service}, port ${port}, for workers of ${pool.name} elsewhere: a proxy with TLS before it, then docs/gateway.md`,
    ),
    `first key  ${folder}/admin/dev.key, taken in by the API at its first start; it is the operator's. The tenant ${plan.tenant} is made too`,
    `operate    set -a; . ${folder}/admin/admin.env; set +a; countersign doctor --all`,
    `keep away  ${folder}/admin from all servers: registry.key in it enrols workers, and its passwords open Redis`,
    `more       countersign init ${folder} --workers ${plan.pools.map(({ name, workers: n }) => `${name}=${n + 1}`).join(',')} adds workers; copy attestor/workers.json again`,
  ];
}

import { copyFileSync, renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Redis } from 'ioredis';
import { Announcements, type Announcement, type JoinAsk } from '../../core/catalog/announcement.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import type { Facts } from '../../core/registry/enrolment.ts';
import { admit, newInvitation, usesOf, type Invitation } from '../../core/registry/invitation.ts';
import type { WorkerEntry, WorkerList } from '../../core/registry/worker-list.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { publicKeyFromBase64, type SigningKey } from '../../ground/keys/signing-key.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { allAsks } from './ask-commands.ts';
import { numberOf, timeOf } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import type { DataFolder } from './data-folder.ts';
import { Invitations } from './invitations.ts';
import { Output, jsonOption } from './output.ts';
import { readWorkerList, writeWorkerList } from './set-up.ts';

const DAY_MS = 86_400_000;
const LOOK_EVERY_MS = 2_000;

/**
 * `countersign workers invite`, `invitations`, `withdraw` and `admit`: enrolment of workers started in
 * numbers.
 */
export function addInvitationCommands(cli: CliContext, workers: Command): void {
  addInvite(cli, workers);
  addInvitations(cli, workers);
  addWithdraw(cli, workers);
  addAdmit(cli, workers);
}

interface InviteOptions {
  readonly pool: string;
  readonly operator: string;
  readonly uses: number;
  readonly expires?: string;
  readonly json?: boolean;
}

function addInvite(cli: CliContext, workers: Command): void {
  workers
    .command('invite')
    .description('make a join token for workers that are started in numbers; it is shown once')
    .requiredOption('--pool <name>', 'pool whose jobs they may answer')
    .option('--uses <n>', 'how many workers it brings in', numberOf, 1)
    .option('--expires <time>', 'when it ends, ISO 8601; by default in a day', timeOf)
    .option('--operator <name>', 'who runs them: quorums count operators', 'local')
    .addOption(jsonOption())
    .action((options: InviteOptions) => {
      const { pool, operator, uses } = options;
      if (!readCatalog(cli.data.catalog()).pools().includes(pool))
        throw new CodedError('request_invalid', `The catalog has no pool ${pool}.`);
      const now = new Date();
      const expires = options.expires ?? new Date(now.getTime() + DAY_MS).toISOString();
      if (Date.parse(expires) <= now.getTime()) throw new CodedError('request_invalid', '--expires is a time to come.');
      const made = invitationOf({ pool, operator, uses, issuedAt: now.toISOString(), expires });
      new Invitations(cli.data).keep(made.invitation);
      new Output(options.json === true).show({ id: made.invitation.id, token: made.token, expires }, [made.token]);
    });
}

function invitationOf(about: Parameters<typeof newInvitation>[0]): ReturnType<typeof newInvitation> {
  try {
    return newInvitation(about);
  } catch (cause) {
    throw new CodedError(
      'request_invalid',
      'An invitation is for 1 to 10,000 workers, of an operator named with lower-case letters, digits and hyphens.',
      { cause },
    );
  }
}

function addInvitations(cli: CliContext, workers: Command): void {
  workers
    .command('invitations')
    .description('show the invitations, and how often each was used')
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => {
      const { workers: entries } = readWorkerList(cli.data);
      const all = new Invitations(cli.data).all().map((one) => ({ ...one, used: usesOf(one.id, entries) }));
      new Output(options.json === true).show(
        { invitations: all },
        all.map(
          ({ id, pool, operator, used, uses, expires }) =>
            `${id}  ${pool}  ${operator}  ${used} of ${uses} used  until ${expires}`,
        ),
      );
    });
}

function addWithdraw(cli: CliContext, workers: Command): void {
  workers
    .command('withdraw')
    .description('end an invitation at once; the workers that came by it stay')
    .argument('<id>', 'invitation id')
    .addOption(jsonOption())
    .action((id: string, options: { json?: boolean }) => {
      if (!new Invitations(cli.data).withdraw(id))
        throw new CodedError('request_invalid', `There is no invitation ${id}.`, {
          hint: 'countersign workers invitations lists them',
        });
      new Output(options.json === true).show({ withdrawn: id }, [`withdrew ${id}`]);
    });
}

interface AdmitOptions {
  readonly once?: boolean;
  readonly copyTo?: string;
  readonly redisUrl?: string;
  readonly json?: boolean;
}

function addAdmit(cli: CliContext, workers: Command): void {
  workers
    .command('admit')
    .description(
      "let in workers that ask with a join token, here or at a gateway, until it is stopped; needs the registry's key and Redis",
    )
    .option('--once', 'let in who asks now, and end')
    .option('--copy-to <file>', 'put each new list there as well, where attestors read it')
    .option('--redis-url <url>', 'Redis; by default the private one of the data folder')
    .addOption(jsonOption())
    .action(async (options: AdmitOptions) => {
      const doorkeeper = new Doorkeeper(cli.data, options, new Output(options.json === true));
      const ended = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
      await cli.withRedis('attestor', options.redisUrl, async (redis) => {
        do {
          await doorkeeper.look(redis, options.once !== true);
          if (options.once === true) return;
          await sleep(LOOK_EVERY_MS, undefined, { signal: ended.signal }).catch(() => undefined);
        } while (!ended.signal.aborted);
      });
    });
}

/** Lets workers in by invitations, all of those who ask at a time with one new list. */
class Doorkeeper {
  readonly #data: DataFolder;
  readonly #options: AdmitOptions;
  readonly #out: Output;
  readonly #registryKey: SigningKey;
  /** The serial of the list that was copied last. */
  #copied = 0;
  /** What was said about whom, so that it is said once. */
  readonly #said = new Map<string, string>();

  constructor(data: DataFolder, options: AdmitOptions, out: Output) {
    this.#data = data;
    this.#options = options;
    this.#out = out;
    this.#registryKey = readSigningKey(data.registryKey());
  }

  /** One look at who asks. With `isPatient`, what fails now is said, and looked at again the next time. */
  async look(redis: Redis, isPatient: boolean): Promise<void> {
    try {
      await this.#look(redis);
    } catch (error) {
      if (!isPatient) throw error;
      this.#sayOnce('', messageOf(error));
    }
  }

  async #look(redis: Redis): Promise<void> {
    const announcements = new Announcements(redis, new RedisKeys(this.#data.shard));
    const pools = readCatalog(this.#data.catalog()).pools();
    const present = await Promise.all(pools.map((pool) => announcements.present({ role: 'worker', pool })));
    const list = readWorkerList(this.#data);
    this.#copy(list.serial);
    const known = new Set(list.workers.map(({ id }) => id));
    const entries: WorkerEntry[] = [];
    const invitations = new Map<string, Invitation | undefined>();
    const atGateways = await invitedAsks(this.#data, redis);
    for (const applicant of [...present.flat().flatMap(applicantOf), ...atGateways]) {
      if (known.has(applicant.id)) continue;
      const entry = await this.#entryOf(applicant, [...list.workers, ...entries], invitations);
      if (entry !== undefined) entries.push(entry);
    }
    if (entries.length > 0) this.#enter(list, entries);
    // The list first: a crash before an ask is gone leaves one that is decided already.
    const decided = new Set([...known, ...entries.map(({ id }) => id)]);
    for (const { id, forget } of atGateways) if (decided.has(id)) await forget?.();
  }

  #enter(list: WorkerList, entries: readonly WorkerEntry[]): void {
    const next = writeWorkerList(this.#data, { ...list, workers: [...list.workers, ...entries] }, this.#registryKey);
    this.#copy(next.serial);
    for (const { id, pools: of, labels } of entries)
      this.#out.show({ serial: next.serial, worker: id, pools: of, labels }, [
        `${id}  let in to ${of.join(', ')} by ${labels['invitation'] ?? ''}, list ${next.serial}`,
      ]);
  }

  /** The entry of a worker that asks, or undefined where it is refused: at a gateway for good. */
  async #entryOf(
    { id, pool, publicKey, join, about, refuse }: Applicant,
    entries: readonly WorkerEntry[],
    invitations: Map<string, Invitation | undefined>,
  ): Promise<WorkerEntry | undefined> {
    try {
      if (!invitations.has(join.invitation))
        invitations.set(join.invitation, new Invitations(this.#data).find(join.invitation));
      const ask = { ask: join, worker: publicKeyFromBase64(publicKey), pool };
      const entry = admit(ask, invitations.get(join.invitation), entries, new Date());
      return { ...entry, gpu: about?.gpu ?? null, labels: { ...about?.labels, ...entry.labels } };
    } catch (error) {
      this.#sayOnce(id, messageOf(error));
      if (error instanceof CodedError && error.code === 'enrolment_refused') await refuse?.(error.message);
      return undefined;
    }
  }

  /**
   * Attestors may read another file than the one that is kept here: also what other commands wrote goes
   * there.
   */
  #copy(serial: number): void {
    const { copyTo } = this.#options;
    if (copyTo === undefined || serial === this.#copied) return;
    copyFileSync(this.#data.enrolled(), `${copyTo}.new`);
    renameSync(`${copyTo}.new`, copyTo);
    this.#copied = serial;
  }

  #sayOnce(worker: string, why: string): void {
    if (this.#said.get(worker) === why) return;
    if (this.#said.size >= MOST_SAID) this.#said.clear();
    this.#said.set(worker, why);
    process.stderr.write(`${worker === '' ? 'not looked' : `${worker} not let in`}: ${why}\n`);
  }
}

const MOST_SAID = 10_000;

/** A worker that asks to be let in by an invitation. */
interface Applicant {
  readonly id: string;
  readonly pool: string;
  readonly publicKey: string;
  readonly join: JoinAsk;
  /** What it says of itself at a gateway. */
  readonly about?: Pick<Facts, 'gpu' | 'labels'>;
  /** Tells it so at its gateway, for good. */
  readonly refuse?: (why: string) => Promise<void>;
  readonly forget?: () => Promise<void>;
}

function applicantOf({ id, pool = '', publicKey = '', join }: Announcement): Applicant[] {
  return join === undefined ? [] : [{ id, pool, publicKey, join }];
}

async function invitedAsks(data: DataFolder, redis: Redis): Promise<Applicant[]> {
  return (await allAsks(data, redis)).flatMap(({ worker: id, pool, facts, asks }): Applicant[] => {
    const { join, publicKey } = facts;
    if (join === undefined) return [];
    const decide = { refuse: (why: string) => asks.refuse(id, why), forget: () => asks.forget(id) };
    return [{ id, pool, publicKey, join, about: facts, ...decide }];
  });
}

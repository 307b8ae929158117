import { existsSync, mkdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { TeeEvidence, verifyTeeEvidence, type TeeCollateral } from '../../core/attestation/tee/tee-evidence.ts';
import { TeePolicy } from '../../core/attestation/tee/tee-policy.ts';
import { TeeRefused } from '../../core/attestation/tee/tee-refused.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { openRedis, whenReady } from '../../ground/redis/connection.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { publicKeyFromBase64, type PublicKey } from '../../ground/keys/signing-key.ts';
import {
  CHALLENGE_LIFE_MS,
  EnrolmentRequest,
  newChallenge,
  openEnrolment,
  requestEnrolment,
  type Facts,
} from '../../core/registry/enrolment.ts';
import { workerEntry, type WorkerEntry } from '../../core/registry/worker-list.ts';
import { Output, jsonOption } from './output.ts';
import { SHARD, passwordOf, readWorkerList, writeWorkerList, type DataFolder } from './set-up.ts';

/** A key that another takes over from counts for one lease more. */
const OVERLAP_MS = 60_000;
const REDIS_READY_MS = 3_000;

/** `countersign workers …`: the list of workers, by whoever holds the registry's key. */
export function addWorkersCommands(
  program: Command,
  data: () => DataFolder,
  redisUrl: (given: string | undefined) => string,
): void {
  const workers = program.command('workers').description('enrol workers, suspend and revoke them');
  const challenges = () => data().at('challenges');

  workers
    .command('challenge')
    .description('print a challenge for a worker to sign; it counts once, for an hour')
    .action(() => {
      const challenge = newChallenge();
      mkdirSync(challenges(), { recursive: true, mode: 0o700 });
      writeFileSync(join(challenges(), challenge), '', { mode: 0o600 });
      process.stdout.write(`${challenge}\n`);
    });

  workers
    .command('request')
    .description("answer a challenge with a worker's key; prints the request for whoever keeps the list")
    .requiredOption('--key <file>', "the worker's key")
    .requiredOption('--challenge <hex>', 'the challenge')
    .requiredOption('--operator <name>', 'who runs the worker')
    .option('--label <name=value...>', 'facts for people', [])
    .option('--gpu <text>', 'GPU, in words')
    .option('--evidence <file>', 'hardware evidence that binds the key and the challenge')
    .option('--predecessor <file>', 'key that this one takes over from')
    .action(
      (options: {
        key: string;
        challenge: string;
        operator: string;
        label: string[];
        gpu?: string;
        evidence?: string;
        predecessor?: string;
      }) => {
        const request = requestEnrolment(
          readSigningKey(options.key),
          {
            challenge: options.challenge,
            operator: options.operator,
            labels: Object.fromEntries(options.label.map(labelOf)),
            gpu: options.gpu ?? null,
            evidence: options.evidence === undefined ? null : TeeEvidence.parse(readJson(options.evidence)),
          },
          options.predecessor === undefined ? undefined : readSigningKey(options.predecessor),
        );
        process.stdout.write(`${JSON.stringify(request)}\n`);
      },
    );

  workers
    .command('enrol')
    .description('put the worker of a request on the list')
    .argument('<request>', 'file with the request')
    .option('--tee-policy <file>', 'admit only hardware that this policy accepts')
    .option('--tee-collateral <file>', 'what the makers of the hardware say: JSON with tdx, snpChain or nrasKeys')
    .addOption(jsonOption())
    .action(async (file: string, options: { teePolicy?: string; teeCollateral?: string; json?: boolean }) => {
      const list = readWorkerList(data());
      const request = parsed(EnrolmentRequest, readJson(file), file);
      const keyOf = (id: string): PublicKey | undefined => {
        const entry = list.workers.find((worker) => worker.id === id);
        return entry?.standing.state === 'active' ? publicKeyFromBase64(entry.publicKey) : undefined;
      };
      const { facts, key } = openEnrolment(request, keyOf);
      burn(join(challenges(), facts.challenge));
      if (list.workers.some(({ id }) => id === facts.worker))
        throw new CodedError('enrolment_refused', `${facts.worker} is on the list already.`);
      const now = new Date();
      const hardware = await hardwareOf(facts, key, options, now);
      const entry: WorkerEntry = {
        ...workerEntry(key, facts.operator, now.toISOString()),
        labels: facts.labels,
        gpu: facts.gpu,
        predecessor: facts.predecessor,
        hardware,
      };
      const kept = list.workers.map((worker) =>
        worker.id === facts.predecessor
          ? { ...worker, notAfter: new Date(now.getTime() + OVERLAP_MS).toISOString() }
          : worker,
      );
      const next = writeWorkerList(data(), { ...list, workers: [...kept, entry] });
      new Output(options.json === true).show({ serial: next.serial, worker: entry }, [
        `${entry.id}  ${entry.operator}  enrolled, list ${next.serial}`,
      ]);
    });

  workers
    .command('list')
    .description('show the list')
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => {
      const list = readWorkerList(data());
      new Output(options.json === true).show(list, [
        `list ${list.serial}, until ${list.expires}`,
        ...list.workers.map(
          ({ id, operator, standing, notAfter, hardware }) =>
            `${id}  ${operator}  ${standing.state}${notAfter === null ? '' : `, key until ${notAfter}`}${hardware === null ? '' : `  ${hardware.properties.join(' ')}`}`,
        ),
      ]);
    });

  const change = (
    id: string,
    options: { json?: boolean },
    standing: (entry: WorkerEntry) => WorkerEntry['standing'],
  ) => {
    const list = readWorkerList(data());
    const entry = list.workers.find((worker) => worker.id === id);
    if (entry === undefined) throw new CodedError('worker_not_found', `The list has no worker ${id}.`);
    if (entry.standing.state === 'revoked')
      throw new CodedError('request_invalid', `${id} is revoked, and that is for good; enrol a new key.`);
    const changed = { ...entry, standing: standing(entry) };
    const next = writeWorkerList(data(), {
      ...list,
      workers: list.workers.map((worker) => (worker.id === id ? changed : worker)),
    });
    new Output(options.json === true).show({ serial: next.serial, worker: changed }, [
      `${id}  ${changed.standing.state}, list ${next.serial}`,
    ]);
  };

  workers
    .command('suspend')
    .description('let nothing that this worker signs count from now on, until it is resumed')
    .argument('<id>')
    .option('--why <text>', 'for people', '')
    .addOption(jsonOption())
    .action((id: string, options: { why: string; json?: boolean }) =>
      change(id, options, () => ({ state: 'suspended', from: new Date().toISOString(), why: options.why })),
    );
  workers
    .command('resume')
    .description('end a suspension')
    .argument('<id>')
    .addOption(jsonOption())
    .action((id: string, options: { json?: boolean }) => change(id, options, () => ({ state: 'active' })));
  workers
    .command('revoke')
    .description('let nothing that this worker signs count any more, for good')
    .argument('<id>')
    .option('--from <time>', 'by default now', timeOf)
    .option('--compromised-since <time>', 'what it signed from then on counts for nothing either', timeOf)
    .option('--why <text>', 'for people', '')
    .addOption(jsonOption())
    .action((id: string, options: { from?: string; compromisedSince?: string; why: string; json?: boolean }) =>
      change(id, options, () => ({
        state: 'revoked',
        from: options.from ?? new Date().toISOString(),
        compromisedSince: options.compromisedSince ?? null,
        why: options.why,
      })),
    );
  workers
    .command('release')
    .description('let a worker out of quarantine, with a clean score')
    .argument('<id>')
    .option('--redis-url <url>', 'Redis; by default the private one of the data folder')
    .addOption(jsonOption())
    .action(async (id: string, options: { redisUrl?: string; json?: boolean }) => {
      const redis = openRedis(
        { url: redisUrl(options.redisUrl), user: 'attestor', password: passwordOf(data(), 'attestor') },
        'prompt',
        createLogger('workers', 'error'),
      );
      try {
        await whenReady(redis, REDIS_READY_MS);
        const keys = new RedisKeys(SHARD);
        const scores = await redis.hgetall(keys.suspicion);
        const own = Object.keys(scores).filter((field) => field.startsWith(`${id} `));
        if (own.length > 0) await redis.hdel(keys.suspicion, ...own);
        if ((await redis.srem(keys.quarantined, id)) === 0)
          throw new CodedError('worker_not_found', `${id} is not in quarantine.`);
      } finally {
        redis.disconnect();
      }
      new Output(options.json === true).show({ worker: id, quarantined: false }, [`${id}  out of quarantine`]);
    });
  workers
    .command('renew')
    .description('sign the list again, for another year')
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => {
      const { serial, expires } = writeWorkerList(data(), readWorkerList(data()));
      new Output(options.json === true).show({ serial, expires }, [`list ${serial}, until ${expires}`]);
    });
}

/** A challenge counts once: whoever removes its file has it. */
function burn(path: string): void {
  const isFresh = existsSync(path) && Date.now() - statSync(path).mtimeMs < CHALLENGE_LIFE_MS;
  try {
    unlinkSync(path);
  } catch (cause) {
    throw new CodedError('enrolment_refused', 'The challenge is none of ours, or was used before.', { cause });
  }
  if (!isFresh) throw new CodedError('enrolment_refused', 'The challenge is more than an hour old; ask for a new one.');
}

async function hardwareOf(
  facts: Facts,
  key: PublicKey,
  options: { teePolicy?: string; teeCollateral?: string },
  now: Date,
): Promise<WorkerEntry['hardware']> {
  if (options.teePolicy === undefined) return null;
  if (facts.evidence === null)
    throw new CodedError('enrolment_refused', 'The policy wants hardware evidence, and the request has none.');
  try {
    const { properties, warnings } = await verifyTeeEvidence(
      facts.evidence,
      options.teeCollateral === undefined ? {} : (readJson(options.teeCollateral) as TeeCollateral),
      {
        worker: facts.worker,
        publicKey: key.bytes,
        tlsSpkiSha256: Buffer.alloc(0),
        nonce: Buffer.from(facts.challenge, 'hex'),
        modelManifestSha256: Buffer.alloc(0),
      },
      parsed(TeePolicy, readJson(options.teePolicy), options.teePolicy),
      now.getTime(),
    );
    const evidenceSha256 = sha256Hex(JSON.stringify(facts.evidence));
    return { evidenceSha256, properties: [...properties], warnings: [...warnings], at: now.toISOString() };
  } catch (cause) {
    if (!(cause instanceof TeeRefused)) throw cause;
    throw new CodedError('enrolment_refused', `${cause.refusal}: ${cause.message}`, { cause });
  }
}

function labelOf(text: string): [string, string] {
  const [name = '', ...value] = text.split('=');
  return [name, value.join('=')];
}

function timeOf(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('must be a time, for example 2026-11-21T08:00:00Z.');
  return new Date(ms).toISOString();
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path === '-' ? 0 : path, 'utf8'));
  } catch (cause) {
    throw new CodedError('request_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
  }
}

function parsed<T>(schema: { parse: (value: unknown) => T }, value: unknown, path: string): T {
  try {
    return schema.parse(value);
  } catch (cause) {
    throw new CodedError('request_invalid', `${path} is of another shape: ${messageOf(cause).slice(0, 200)}`, {
      cause,
    });
  }
}

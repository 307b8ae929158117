import { existsSync, mkdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { TeeEvidence, type TeeCollateral } from '../../core/attestation/tee/tee-evidence.ts';
import { TeePolicy } from '../../core/attestation/tee/tee-policy.ts';
import { TeeRefused } from '../../core/attestation/tee/tee-refused.ts';
import {
  CHALLENGE_LIFE_MS,
  EnrolmentRequest,
  newChallenge,
  openEnrolment,
  requestEnrolment,
  type Facts,
} from '../../core/registry/enrolment.ts';
import { INVITATION_LABEL } from '../../core/registry/invitation.ts';
import { workerEntry, type WorkerEntry, type WorkerList } from '../../core/registry/worker-list.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { publicKeyFromBase64, type PublicKey } from '../../ground/keys/signing-key.ts';
import { labelOf, readDocument, readJson } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { type DataFolder } from './data-folder.ts';
import { readWorkerList, writeWorkerList } from './set-up.ts';

/** A replaced key is still accepted for this long, so that jobs in progress can end. */
const OVERLAP_MS = 60_000;

/**
 * `countersign workers challenge`, `request` and `enrol`: the three steps by which a worker's key gets on the
 * list.
 */
export function addEnrolmentCommands(cli: CliContext, workers: Command): void {
  addChallenge(cli, workers);
  addRequest(workers);
  addEnrol(cli, workers);
}

function challengeFile(data: DataFolder, challenge: string): string {
  return join(data.at('challenges'), challenge);
}

function addChallenge(cli: CliContext, workers: Command): void {
  workers
    .command('challenge')
    .description('print a challenge for a worker to sign; it is valid once, for an hour')
    .action(() => {
      const challenge = newChallenge();
      mkdirSync(cli.data.at('challenges'), { recursive: true, mode: 0o700 });
      writeFileSync(challengeFile(cli.data, challenge), '', { mode: 0o600 });
      process.stdout.write(`${challenge}\n`);
    });
}

interface RequestOptions {
  readonly key: string;
  readonly challenge: string;
  readonly operator: string;
  readonly label: readonly string[];
  readonly gpu?: string;
  readonly evidence?: string;
  readonly predecessor?: string;
}

function addRequest(workers: Command): void {
  workers
    .command('request')
    .description("answer a challenge with a worker's key; prints the request for the keeper of the list")
    .requiredOption('--key <file>', "the worker's key")
    .requiredOption('--challenge <hex>', 'the challenge')
    .requiredOption('--operator <name>', 'who runs the worker')
    .option('--label <name=value...>', 'facts for people', [])
    .option('--gpu <text>', 'GPU, in words')
    .option('--evidence <file>', 'hardware evidence that binds the key and the challenge')
    .option('--predecessor <file>', 'key that this one replaces')
    .action((options: RequestOptions) => {
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
    });
}

interface EnrolOptions {
  readonly pools?: string;
  readonly teePolicy?: string;
  readonly teeCollateral?: string;
  readonly json?: boolean;
}

function addEnrol(cli: CliContext, workers: Command): void {
  workers
    .command('enrol')
    .description('put the worker of a request on the list')
    .argument('<request>', 'file with the request')
    .option(
      '--pools <list>',
      "pools that it may serve, comma-separated; by default those of the key that it replaces, or 'default'",
    )
    .option('--tee-policy <file>', 'admit only hardware that this policy accepts')
    .option(
      '--tee-collateral <file>',
      "certificates and reference values of the hardware's makers: JSON with tdx, snpChain or nrasKeys",
    )
    .addOption(jsonOption())
    .action(async (file: string, options: EnrolOptions) => {
      const list = readWorkerList(cli.data);
      const request = readDocument(EnrolmentRequest, file);
      const { facts, key } = openEnrolment(request, (id) => activeKeyOf(list, id));
      if (list.workers.some(({ id }) => id === facts.worker))
        throw new CodedError('enrolment_refused', `${facts.worker} is already on the list.`);
      if (INVITATION_LABEL in facts.labels)
        throw new CodedError(
          'enrolment_refused',
          `The label ${INVITATION_LABEL} is kept for workers that were invited.`,
        );
      const now = new Date();
      const entry: WorkerEntry = {
        ...workerEntry(key, facts.operator, now.toISOString(), poolsOf(list, facts, options)),
        labels: facts.labels,
        gpu: facts.gpu,
        predecessor: facts.predecessor,
        hardware: await hardwareOf(facts, key, options, now),
      };
      // Whatever can be refused was looked at before: a challenge that is used up is asked for once more.
      const registryKey = readSigningKey(cli.data.registryKey());
      burnChallenge(challengeFile(cli.data, facts.challenge));
      const next = writeWorkerList(cli.data, withEntry(list, entry, now), registryKey);
      new Output(options.json === true).show({ serial: next.serial, worker: entry }, [
        `${entry.id}  ${entry.operator}  enrolled, list ${next.serial}`,
      ]);
    });
}

function poolsOf(list: WorkerList, { predecessor }: Facts, { pools }: EnrolOptions): string[] {
  const before = list.workers.find(({ id }) => id === predecessor);
  return pools?.split(',').map((pool) => pool.trim()) ?? before?.pools ?? ['default'];
}

function activeKeyOf(list: WorkerList, id: string): PublicKey | undefined {
  const entry = list.workers.find((worker) => worker.id === id);
  return entry?.standing.state === 'active' ? publicKeyFromBase64(entry.publicKey) : undefined;
}

/** The list with one more worker; the key that it replaces, if any, ends after the overlap. */
function withEntry(list: WorkerList, entry: WorkerEntry, now: Date): WorkerList {
  const notAfter = new Date(now.getTime() + OVERLAP_MS).toISOString();
  const others = list.workers.map((worker) => (worker.id === entry.predecessor ? { ...worker, notAfter } : worker));
  return { ...list, workers: [...others, entry] };
}

/**
 * A challenge is valid once: of two enrolments at the same time, only the one that removes the file goes on.
 */
function burnChallenge(path: string): void {
  const isFresh = existsSync(path) && Date.now() - statSync(path).mtimeMs < CHALLENGE_LIFE_MS;
  try {
    unlinkSync(path);
  } catch (cause) {
    throw new CodedError('enrolment_refused', 'The challenge is unknown or was used before.', { cause });
  }
  if (!isFresh) throw new CodedError('enrolment_refused', 'The challenge is more than an hour old; ask for a new one.');
}

/**
 * What the evidence of a request proves under a policy; null without a policy. Throws CodedError
 * `enrolment_refused`.
 */
async function hardwareOf(
  facts: Facts,
  key: PublicKey,
  options: EnrolOptions,
  now: Date,
): Promise<WorkerEntry['hardware']> {
  if (options.teePolicy === undefined) return null;
  if (facts.evidence === null)
    throw new CodedError('enrolment_refused', 'The policy requires hardware evidence, and the request has none.');
  try {
    const { verifyTeeEvidence } = await import('../../core/attestation/tee/verify-tee-evidence.ts');
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
      readDocument(TeePolicy, options.teePolicy),
      now.getTime(),
    );
    const evidenceSha256 = sha256Hex(JSON.stringify(facts.evidence));
    return { evidenceSha256, properties: [...properties], warnings: [...warnings], at: now.toISOString() };
  } catch (cause) {
    if (!(cause instanceof TeeRefused)) throw cause;
    throw new CodedError('enrolment_refused', `${cause.refusal}: ${cause.message}`, { cause });
  }
}

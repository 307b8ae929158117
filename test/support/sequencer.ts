import { join } from 'node:path';
import type { Redis } from 'ioredis';
import type { CaseFile } from '../../src/core/confirmation/case-file.ts';
import type { Confirmation } from '../../src/core/confirmation/confirmation.ts';
import { Sequencer } from '../../src/core/confirmation/sequencer.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { Durability } from '../../src/ground/redis/durability.ts';
import { LogFiles } from '../../src/proof/tlog/log-files.ts';
import { formatVkey, noteKey } from '../../src/proof/tlog/signed-note.ts';
import { parsePolicy } from '../../src/proof/tlog/tlog-policy.ts';
import { WitnessClient } from '../../src/proof/tlog/witness-client.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { encodeStored, signPayload } from '../../src/proof/receipts/dsse.ts';
import { until } from './pipeline.ts';
import type { TestRedis } from './redis.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

export const ORIGIN = 'countersign.test/log';

/** Trust in the log of this key, and in the witnesses of further lines. */
export function logPolicy(key: SigningKey, ...lines: string[]): string {
  return [
    `log ${formatVkey(noteKey(ORIGIN, 'ed25519', key.public))}`,
    ...(lines.length > 0 ? lines : ['quorum none']),
  ].join('\n');
}

/** An attestor's sequencer, with the log in the folder of the test's Redis; end it with `stop`. */
export function startSequencer(
  server: TestRedis,
  redis: Redis,
  key: SigningKey,
  policy = logPolicy(key),
  logger = createLogger('test', 'error'),
): Sequencer {
  const log = new FolderTree(join(server.folder, 'log'));
  const sequencer = new Sequencer({
    redis,
    keys: server.keys,
    files: new LogFiles(log),
    archive: new JobArchive(log),
    key,
    origin: ORIGIN,
    trusted: parsePolicy(policy).logs.map(({ key: trusted }) => trusted),
    witnesses: new WitnessClient(parsePolicy(policy)),
    durability: new Durability({ kind: 'always' }),
    stalledMs: 1_000,
    logger,
  });
  sequencer.start();
  return sequencer;
}

/** Confirmations of jobs that wait for one, as far as the log looks at them. */
export async function confirmations(server: TestRedis, signer: SigningKey, count: number): Promise<Confirmation[]> {
  return Promise.all(Array.from({ length: count }, (_, number) => confirmationOf(server, signer, number)));
}

async function confirmationOf(server: TestRedis, signer: SigningKey, number: number): Promise<Confirmation> {
  const { admin, keys } = server;
  const now = Date.now();
  const id = newJobId('default', now);
  const signed = signPayload(signer, Buffer.from('{"predicate":{}}'));
  await admin.hset(keys.claims(id), 'e1', 'w t 1', 'c1', 'f 1');
  await admin.hset(keys.ticket(id), 'ticket', encodeStored(signed), 'deadline', now);
  const file: CaseFile = {
    id,
    nowMs: now,
    ticket: encodeStored(signed),
    tenant: 'acme',
    flow: 'acme',
    told: undefined,
    cost: 1,
    band: 'standard',
    queue: 'default.noop',
    model: 'noop',
    createdMs: now,
    deadlineMs: now,
    maxAttempts: 3,
    keyId: 'key',
    hold: undefined,
    isReserved: false,
    surface: undefined,
    isStored: true,
    trace: undefined,
    cancelAskedMs: undefined,
    isPoolEmptied: false,
    ended: false,
    phase: 'attesting',
    currentEpoch: 1,
    epoch: 1,
    claimant: 'w',
    attempts: [],
    committedMs: now,
    field: 'f',
    statement: { kind: 'stored', text: encodeStored(signed) },
    inlineOutput: undefined,
    leaseMs: 0,
    logged: undefined,
  };
  const verdict = signPayload(signer, Buffer.from(`{"answer":"yes ${number}"}`));
  const size = { task: 'completion', maxTokens: 1, inputBytes: 1 } as const;
  return { file, ticket: signed, evidence: signed, verdict, output: Buffer.from(`output ${number}`), tookMs: 1, size };
}

/** Gives them their places; resolves to the published size that holds all of those that have one. */
export async function publish(server: TestRedis, sequencer: Sequencer, all: readonly Confirmation[]): Promise<number> {
  const places = await sequencer.place(all);
  const beyond = Math.max(-1, ...places.map((index) => index ?? -1));
  const size = async () => Number(await server.admin.hget(server.keys.log, 'size'));
  await until(async () => (await size()) > beyond);
  return size();
}

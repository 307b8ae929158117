import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { Sequencer } from '../../src/core/confirmation/sequencer.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { LogFiles } from '../../src/proof/tlog/log-files.ts';
import { formatVkey, noteKey } from '../../src/proof/tlog/signed-note.ts';
import { parsePolicy } from '../../src/proof/tlog/tlog-policy.ts';
import { WitnessClient } from '../../src/proof/tlog/witness-client.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import type { TestRedis } from './redis.ts';

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
  const sequencer = new Sequencer({
    redis,
    keys: server.keys,
    files: new LogFiles(join(server.folder, 'log')),
    key,
    origin: ORIGIN,
    trusted: parsePolicy(policy).logs.map(({ key: trusted }) => trusted),
    witnesses: new WitnessClient(parsePolicy(policy)),
    keepMs: 3_600_000,
    logger,
  });
  sequencer.start();
  return sequencer;
}

/** Verdicts about jobs that wait for one, as far as the log looks at them. */
export async function verdicts(server: TestRedis, signer: SigningKey, count: number) {
  const admin = server.client();
  return Promise.all(
    Array.from({ length: count }, async (_, number) => {
      const id = newJobId('default', 1_790_000_000_000 + number);
      await admin.hset(server.keys.claims(id), 'e1', 'w t 1', 'c1', 'f 1');
      return { id, epoch: 1, field: 'f', verdict: signPayload(signer, Buffer.from(`{"answer":"yes ${number}"}`)) };
    }),
  );
}

import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { Sequencer } from '../../src/attestor/sequencer.ts';
import type { SigningKey } from '../../src/keys/signing-key.ts';
import { LogFiles } from '../../src/log/log-files.ts';
import { createLogger } from '../../src/logging/logger.ts';
import type { TestRedis } from './redis.ts';

export const ORIGIN = 'countersign.test/log';

/** An attestor's sequencer, with the log in the folder of the test's Redis; end it with `stop`. */
export async function startSequencer(server: TestRedis, redis: Redis, key: SigningKey): Promise<Sequencer> {
  const sequencer = new Sequencer({
    redis,
    keys: server.keys,
    files: new LogFiles(join(server.folder, 'log')),
    key,
    origin: ORIGIN,
    keepMs: 3_600_000,
    logger: createLogger('test', 'error'),
  });
  await sequencer.start();
  return sequencer;
}

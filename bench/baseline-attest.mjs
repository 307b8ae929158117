// The second queue of a pipeline written by hand: a processor that verifies one Ed25519 signature over 1 KB,
// signs another, and sets a status hash.
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const connection = {
  path: process.env.REDIS_SOCKET,
  username: 'admin',
  password: process.env.REDIS_PASSWORD,
  disableClientInfo: true,
  maxRetriesPerRequest: null,
};
const redis = new Redis(connection);
const { privateKey } = generateKeyPairSync('ed25519');
let known;
new Worker(
  'attest',
  async ({ data }) => {
    known ??= createPublicKey(data.key);
    const bytes = Buffer.from(data.body);
    if (!verify(null, bytes, known, Buffer.from(data.signature, 'base64'))) throw new Error('not signed');
    const signature = sign(null, bytes, privateKey).toString('base64');
    await redis.pipeline().hset(`status:${data.id}`, 'state', 'done', 'signature', signature).incr('finished').exec();
  },
  { connection, prefix: 'base', concurrency: 50, removeOnComplete: { count: 0 } },
);
process.stdout.write('{"ready":true}\n');

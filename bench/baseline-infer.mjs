// The first queue of a pipeline written by hand: a processor that computes nothing, signs 1 KB, and adds a
// job to the second queue.
import { generateKeyPairSync, sign } from 'node:crypto';
import { Queue, Worker } from 'bullmq';

const connection = {
  path: process.env.REDIS_SOCKET,
  username: 'admin',
  password: process.env.REDIS_PASSWORD,
  disableClientInfo: true,
  maxRetriesPerRequest: null,
};
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const body = 'x'.repeat(1_024);
const signature = sign(null, Buffer.from(body), privateKey).toString('base64');
const key = publicKey.export({ format: 'pem', type: 'spki' });
const attest = new Queue('attest', { connection, prefix: 'base' });
new Worker(
  'infer',
  async (job) => {
    await attest.add('attest', { id: job.id, body, signature, key }, { jobId: `a-${job.id}`, removeOnComplete: true });
  },
  { connection, prefix: 'base', concurrency: 50, removeOnComplete: { count: 0 } },
);
process.stdout.write('{"ready":true}\n');

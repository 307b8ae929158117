// A bare Fastify handler that enqueues, and nothing else.
import Fastify from 'fastify';
import { Queue } from 'bullmq';

const connection = {
  path: process.env.REDIS_SOCKET,
  username: 'admin',
  password: process.env.REDIS_PASSWORD,
  disableClientInfo: true,
  maxRetriesPerRequest: null,
};
const queue = new Queue('http', { connection, prefix: 'base' });
const app = Fastify();
app.post('/v1/jobs', async (request, reply) => {
  const job = await queue.add('run', request.body, { removeOnComplete: true });
  return reply.status(202).send({ id: job.id });
});
const url = await app.listen({ port: 0, host: '127.0.0.1' });
process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`);

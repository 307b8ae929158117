import { newJobId } from '../../src/core/jobs/job-id.ts';
import type { TestRedis } from './redis.ts';

const PAGE = 500;
/** Copies the documents of a job under other ids, at the end of its backlog. */
const COPY = `
  local id, deadline = ARGV[1], ARGV[2]
  local job, ticket = redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])
  local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2] or 1)
  for at = 3, #ARGV do
    local copy = ARGV[at]
    redis.call('HSET', (string.gsub(KEYS[1], id, copy)), unpack(job))
    redis.call('HSET', (string.gsub(KEYS[2], id, copy)), unpack(ticket))
    redis.call('HSET', (string.gsub(KEYS[2], id, copy)), 'deadline', deadline)
    redis.call('ZADD', KEYS[3], last + at - 2, copy)
    redis.call('ZADD', KEYS[4], deadline, copy)
    redis.call('ZADD', KEYS[5], deadline, copy)
  end`;

/** So many jobs that wait behind all others, each as this one, with this deadline (ms); their ids. */
export async function waitingLike(
  { keys, ...server }: Pick<TestRedis, 'keys'> & { readonly admin: ReturnType<TestRedis['client']> },
  id: string,
  count: number,
  deadlineMs: number,
): Promise<string[]> {
  const queue = (await server.admin.hget(keys.job(id), 'queue')) ?? '';
  const tenant = (await server.admin.hget(keys.job(id), 'tenant')) ?? '';
  const [pool = ''] = queue.split('.');
  const ids = Array.from({ length: count }, (_, at) => newJobId(pool, 1_790_000_000_000 + at));
  const sets = [keys.job(id), keys.ticket(id), keys.backlog(queue), keys.open, keys.openOf(tenant)];
  for (let from = 0; from < count; from += PAGE)
    await server.admin.eval(COPY, sets.length, ...sets, id, deadlineMs, ...ids.slice(from, from + PAGE));
  return ids;
}

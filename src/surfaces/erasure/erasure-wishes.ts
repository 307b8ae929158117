import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';

/** The time (ms) by the clock that readers compare wishes with. */
export async function redisNowMs(redis: Redis): Promise<number> {
  const [seconds, micros] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

/**
 * Asks for the erasure of jobs whose content belongs to memories, which have entries in the audit log of
 * their own: it holds from now on, in the history too. An earlier wish keeps its time.
 */
export async function eraseNow(redis: Redis, keys: RedisKeys, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const nowMs = await redisNowMs(redis);
  const wishes = ids.flatMap((id) => [nowMs, id]);
  await redis.zadd(keys.historyErasures, 'LT', ...wishes);
  await redis.zadd(keys.erasures, 'LT', ...wishes);
}

/** Asks for the erasure of a job from a time (ms) on. */
export async function eraseAt(redis: Redis, keys: RedisKeys, id: string, atMs: number): Promise<void> {
  await redis.zadd(keys.erasures, 'LT', atMs, id);
}

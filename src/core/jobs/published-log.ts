import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { PublishedLog } from '../../proof/tlog/log-reader.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';

/** What attestors have published of the log, read from Redis. Any number of callers at once. */
export function publishedLog(redis: Redis, keys: RedisKeys): PublishedLog {
  return {
    checkpoint: async () => (await redis.hget(keys.log, 'checkpoint')) ?? '',
    draws: () => redis.hgetall(keys.logDraws),
    async documents() {
      const found = await redis.hgetall(keys.logDocuments);
      return Object.entries(found).map(([name, place]) => {
        const [kind = '', sha256 = ''] = name.split(' ');
        const [index = '', salt = '', keyid = ''] = place.split(' ');
        return { kind, sha256, keyid, index: Number(index), salt };
      });
    },
    async head() {
      const reply = await redis
        .multi()
        .hget(keys.log, 'checkpoint')
        .lrange(keys.logTail, 0, TILE_WIDTH - 1)
        .exec();
      const [checkpoint, tail] = (reply ?? []).map(([error, value]) => {
        if (error) throw error;
        return value;
      });
      return {
        checkpoint: typeof checkpoint === 'string' ? checkpoint : '',
        tail: Array.isArray(tail) ? tail.map((entry) => Buffer.from(String(entry))) : [],
      };
    },
  };
}

import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { RedisKeys } from './keys.ts';

/**
 * The version of what stands in Redis: how the scripts of this build read and write keys, streams and
 * deliveries. Each process brings its own scripts, so builds of one layout run side by side in any order, as
 * a rolling upgrade has them (`test/e2e/upgrade.long.test.ts`). It grows with the first change that an older
 * build would misread; a new key, or a new field that older builds pass over, is no such change.
 */
export const LAYOUT = '1';

/**
 * Throws CodedError `layout_unknown` where the keys of the shard are of another layout: a build that does not
 * know them would guess. Of roles that may write it, the first to start notes the layout; a worker, which may
 * only read it, can be there before.
 */
export async function requireLayout(redis: Redis, keys: RedisKeys, isWriter: boolean): Promise<void> {
  try {
    if (isWriter) await redis.setnx(keys.layout, LAYOUT);
    const found = await redis.get(keys.layout);
    if (found !== null && found !== LAYOUT)
      throw new CodedError(
        'layout_unknown',
        `The keys in Redis are of layout ${found.slice(0, 20)}, and this version knows layout ${LAYOUT}.`,
        { hint: 'start the version of countersign that the other roles have' },
      );
  } catch (error) {
    if (!messageOf(error).startsWith('NOPERM')) throw error;
    throw new CodedError('redis_unfit', 'The rules of this Redis user are those of an older version.', {
      hint: 'write them anew with countersign acl, before the first role is updated',
      cause: error,
    });
  }
}

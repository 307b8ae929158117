import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { TimeHint } from '../engines/time-hint.ts';
import { SlotTimes } from './slot-times.ts';

const KEEP = loadScript(new URL('./lua/keep-learned.lua', import.meta.url), integer);

/** So often another attestor may come first. */
const MOST_TRIES = 5;

/** What is learned of a queue, in the form in which it is kept. */
export interface Kept {
  readonly version: number;
  readonly times: SlotTimes;
}

/** What a kept text says; as new where it says nothing that can be read. */
export function keptIn(text: string | null, hint: TimeHint): Kept {
  const [, version = '0', numbers = ''] = /^(\d{1,15}) (.*)$/s.exec(text ?? '') ?? [];
  return { version: Number(version), times: SlotTimes.parse(numbers, hint) ?? new SlotTimes(hint) };
}

/**
 * Adds to what is learned of a queue. Several attestors may learn at once: each adds to what the last one has
 * kept. Returns whether it was kept; after several conflicts it is left out, which costs a moment's figures.
 */
export async function keepLearned(
  { redis, keys }: { redis: Redis; keys: RedisKeys },
  queue: string,
  hint: TimeHint,
  learn: (times: SlotTimes) => void,
): Promise<boolean> {
  const key = keys.learned(queue);
  for (let round = 0; round < MOST_TRIES; round += 1) {
    const { version, times } = keptIn(await redis.get(key), hint);
    learn(times);
    if ((await KEEP.run(redis, [key], [version, times.toText()])) === 1) return true;
  }
  return false;
}

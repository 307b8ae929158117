import type { Redis } from 'ioredis';
import { listOf, text } from './reply.ts';
import { loadScript } from './script.ts';

const TAKE = loadScript(new URL('./lua/take-due.lua', import.meta.url), listOf(text));

/**
 * Takes ids that are due from a sorted set by time (ms), at most `limit`, the oldest first. For `takenMs` no
 * other courier gets them. Any number of couriers may call it at once.
 */
export function takeDue(redis: Redis, key: string, takenMs: number, limit: number): Promise<string[]> {
  return TAKE.run(redis, [key], [Date.now(), takenMs, limit]);
}

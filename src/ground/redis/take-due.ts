import type { Redis } from 'ioredis';
import { loadScript } from './script.ts';

const TAKE = loadScript(new URL('./lua/take-due.lua', import.meta.url));

/** Ids that are due in a sorted set by time, at most `most`; for `takenMs` no other courier gets them. */
export async function takeDue(redis: Redis, key: string, takenMs: number, most: number): Promise<string[]> {
  const reply = await TAKE.run(redis, [key], [Date.now(), takenMs, most]);
  return Array.isArray(reply) ? reply.map(String) : [];
}

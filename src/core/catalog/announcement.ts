import { z } from 'zod';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { publicKeyFromBase64, workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import {
  decodeStored,
  encodeStored,
  signPayload,
  verifyPayload,
  type SignedPayload,
} from '../../proof/receipts/dsse.ts';

/**
 * What a worker or an attestor says about itself while it lives. A worker signs it, so that none speaks for
 * another; what it says is its word alone, a hint for people and for admission, and no document depends on
 * it.
 */
export const Announcement = z.object({
  id: z.string().max(64),
  role: z.enum(['worker', 'attestor']),
  pool: z.string().max(64).optional(),
  publicKey: z.string().max(64).optional(),
  startedAt: z.string().max(40),
  models: z
    .array(
      z.object({
        name: z.string().max(64),
        sha256: z.string().max(64),
        engine: z.string().max(64),
        engineVersion: z.string().max(64),
        engineSha256: z.string().max(64),
        /** The slower methods that an attestor serves for it. */
        methods: z.array(z.string().max(20)).max(10).optional(),
      }),
    )
    .max(200),
  state: z.enum(['consuming', 'draining']),
  inFlight: z.number().int().min(0).max(100_000),
  freeMemoryBytes: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
});
export type Announcement = z.infer<typeof Announcement>;

export const ANNOUNCE_EVERY_MS = 2_000;
/** Somebody who has not been heard of for this long is not there. */
export const ANNOUNCEMENT_LIFE_MS = 7_000;
const MOST = 1_000;
const PAYLOAD_TYPE = 'application/vnd.countersign.heartbeat.v1+json';

/** Writes the announcement of a role, signed where a key is given; safe to send twice. */
export async function announce(
  redis: Redis,
  keys: RedisKeys,
  announcement: Announcement,
  signer?: SigningKey,
): Promise<void> {
  const worker = announcement.role === 'worker';
  const payload = Buffer.from(JSON.stringify(announcement));
  const text = signer === undefined ? payload : encodeStored(signPayload(signer, payload, PAYLOAD_TYPE));
  const key = worker ? keys.worker(announcement.id) : keys.attestor(announcement.id);
  await redis.set(key, text, 'PX', ANNOUNCEMENT_LIFE_MS);
  await redis.zadd(worker ? keys.workers : keys.attestors, Date.now(), announcement.id);
}

/** Says goodbye, so that readiness and lists are right at once. */
export async function withdraw(redis: Redis, keys: RedisKeys, role: 'worker' | 'attestor', id: string): Promise<void> {
  await redis.del(role === 'worker' ? keys.worker(id) : keys.attestor(id));
  await redis.zrem(role === 'worker' ? keys.workers : keys.attestors, id);
}

/**
 * Everyone of a role who is there now: at most 1,000, the ones heard of last. Malformed announcements, and
 * those that a worker did not sign itself, are left out.
 */
export async function present(redis: Redis, keys: RedisKeys, role: 'worker' | 'attestor'): Promise<Announcement[]> {
  const since = Date.now() - 2 * ANNOUNCEMENT_LIFE_MS;
  const ids = await redis.zrangebyscore(
    role === 'worker' ? keys.workers : keys.attestors,
    since,
    '+inf',
    'LIMIT',
    0,
    MOST,
  );
  if (ids.length === 0) return [];
  const texts = await redis.mget(ids.map((id) => (role === 'worker' ? keys.worker(id) : keys.attestor(id))));
  return texts.flatMap((text, index) => {
    if (text === null || text.length > 65_536) return [];
    try {
      const signed = role === 'worker' ? decodeStored(Buffer.from(text)) : undefined;
      const parsed = Announcement.safeParse(JSON.parse(signed?.payload.toString('utf8') ?? text));
      if (!parsed.success || parsed.data.id !== ids[index] || parsed.data.role !== role) return [];
      return role === 'attestor' || isOwn(parsed.data, signed) ? [parsed.data] : [];
    } catch {
      return [];
    }
  });
}

/** Whether the worker whose id this is signed it. Throws where its key is none. */
function isOwn({ id, publicKey }: Announcement, signed: SignedPayload | undefined): boolean {
  if (signed === undefined || publicKey === undefined) return false;
  const key = publicKeyFromBase64(publicKey);
  return workerIdOf(key) === id && verifyPayload(key, signed, PAYLOAD_TYPE);
}

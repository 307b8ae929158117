import { z } from 'zod';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, listOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { Gpu, MOST_GPUS } from '../gpus/gpu.ts';
import { publicKeyFromBase64, workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import {
  decodeStored,
  encodeStored,
  signPayload,
  verifyPayload,
  type SignedPayload,
} from '../../proof/receipts/dsse.ts';

const READ = loadScript(new URL('./lua/read-announcements.lua', import.meta.url), listOf(parseRow));

export const InvitationId = z.string().regex(/^[0-9a-f]{16}$/);

/** What a worker that is on no list says to be let in; see `core/registry/invitation.ts`. */
export const JoinAsk = z.strictObject({
  invitation: InvitationId,
  signature: z.string().regex(/^[A-Za-z0-9+/]{86}==$/),
});
export type JoinAsk = z.infer<typeof JoinAsk>;

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
  /** When this was said, by the clock of whoever says it: what is older does not replace what is newer. */
  at: z.iso.datetime(),
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
        /** How many jobs for it a worker runs at once. */
        slots: z.number().int().min(1).max(10_000).optional(),
        /** Where models take turns in a worker's memory: whether it is loaded, and what its load takes. */
        loaded: z.boolean().optional(),
        coldMs: z.number().int().min(0).max(86_400_000).optional(),
      }),
    )
    .max(200),
  /** Models that it does not serve for now, and why: their servers are away. */
  away: z
    .array(z.object({ name: z.string().max(64), why: z.string().max(200) }))
    .max(200)
    .optional(),
  /** `paused`: it takes no job for now, and comes back by itself. */
  state: z.enum(['consuming', 'draining', 'paused']),
  inFlight: z.number().int().min(0).max(100_000),
  /** How many operators have workers in good standing for a pool, by an attestor's list of workers. */
  operators: z.record(z.string().max(64), z.number().int().min(0).max(100_000)).optional(),
  /** Why an attestor confirms nothing now, or why a worker is paused. */
  problem: z.string().max(40).optional(),
  /** Asks the keeper of the list of workers to be let in. */
  join: JoinAsk.optional(),
  freeMemoryBytes: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  /** The GPUs that a worker may use; absent where it cannot tell. */
  gpus: z.array(Gpu).max(MOST_GPUS).optional(),
});
export type Announcement = z.infer<typeof Announcement>;

export const ANNOUNCE_EVERY_MS = 2_000;
/** Somebody who has not been heard of for this long is not there. */
export const ANNOUNCEMENT_LIFE_MS = 7_000;
const MOST = 1_000;
const MAX_TEXT = 65_536;
const PAYLOAD_TYPE = 'application/vnd.countersign.heartbeat.v1+json';

/** Writes the announcement of a role, signed where a key is given; safe to send twice. */
export async function announce(
  redis: Redis,
  keys: RedisKeys,
  facts: Omit<Announcement, 'at'>,
  signer?: SigningKey,
): Promise<void> {
  const announcement: Announcement = { ...facts, at: new Date().toISOString() };
  const text = signer === undefined ? JSON.stringify(announcement) : signedAnnouncement(announcement, signer);
  await keep(redis, keys, announcement, text);
}

/** An announcement as its worker signs it, in the stored form. */
export function signedAnnouncement(announcement: Announcement, signer: SigningKey): string {
  return encodeStored(signPayload(signer, Buffer.from(JSON.stringify(announcement)), PAYLOAD_TYPE));
}

/**
 * Writes what a worker of a pool has announced, in its stored form; safe to send twice. Returns what it says,
 * or undefined where this worker did not sign it for this pool.
 */
export async function announceFor(
  redis: Redis,
  keys: RedisKeys,
  worker: { readonly id: string; readonly pool: string },
  stored: string,
): Promise<Announcement | undefined> {
  const announcement = announcementIn(stored, worker.id, { role: 'worker', pool: worker.pool });
  if (announcement !== undefined) await keep(redis, keys, announcement, stored);
  return announcement;
}

async function keep(redis: Redis, keys: RedisKeys, announcement: Announcement, text: string): Promise<void> {
  const worker = announcement.role === 'worker';
  const { one, all } = placeOf(keys, worker ? { role: 'worker', pool: announcement.pool ?? '' } : { role: 'attestor' });
  await redis.set(one(announcement.id), text, 'PX', ANNOUNCEMENT_LIFE_MS);
  await redis.zadd(all, Date.now(), announcement.id);
}

/** Attestors, or the workers of one pool. */
type Group = { readonly role: 'attestor' } | { readonly role: 'worker'; readonly pool: string };

function placeOf(keys: RedisKeys, group: Group): { one: (id: string) => string; all: string; enrolled: string } {
  return group.role === 'attestor'
    ? { one: (id) => keys.attestor(id), all: keys.attestors, enrolled: '' }
    : {
        one: (id) => keys.worker(group.pool, id),
        all: keys.workers(group.pool),
        enrolled: keys.enrolled(group.pool),
      };
}

/** Says goodbye, so that readiness and lists are right at once. */
export async function withdraw(redis: Redis, keys: RedisKeys, group: Group, id: string): Promise<void> {
  const { one, all } = placeOf(keys, group);
  await redis.del(one(id));
  await redis.zrem(all, id);
}

/**
 * Who is there now. What workers write is hostile: announcements that are too long, malformed, of another
 * pool, not signed by their worker or older than one that was seen are left out, and what was heard of the
 * worker before goes on counting for its time. What an enrolled worker says is found whatever others write.
 * Any number of callers at once.
 */
export class Announcements {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  /** The newest good announcement by its key, with the time (ms) of this process at which it was read. */
  readonly #heard = new Map<string, { announcement: Announcement; readMs: number }>();

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Every attestor, or every worker of a pool: at most 1,000, enrolled ones first. */
  async present(group: Group): Promise<Announcement[]> {
    const { one, all, enrolled } = placeOf(this.#keys, group);
    const [rows, barred] = await Promise.all([
      READ.run(this.#redis, [this.#keys.open], [all, MOST, MAX_TEXT, one(''), enrolled]),
      this.#barred(group),
    ]);
    const now = performance.now();
    for (const [key, { readMs }] of this.#heard) if (now - readMs > ANNOUNCEMENT_LIFE_MS) this.#heard.delete(key);
    const present = rows.flatMap(({ id, text }) => {
      const before = this.#heard.get(one(id));
      const said = announcementIn(text, id, group);
      if (said === undefined || said.at < (before?.announcement.at ?? '')) return before?.announcement ?? [];
      if (said.at !== before?.announcement.at) this.#heard.set(one(id), { announcement: said, readMs: now });
      return said;
    });
    return present.map((one) => asBarred(one, barred[one.id]));
  }

  async #barred(group: Group): Promise<Record<string, string>> {
    return group.role === 'worker' ? this.#redis.hgetall(this.#keys.barred(group.pool)) : {};
  }
}

/** A worker that may not work is paused, whatever it says of itself. */
function asBarred(announcement: Announcement, bar: string | undefined): Announcement {
  return bar === undefined ? announcement : { ...announcement, state: 'paused', problem: bar };
}

/** The announcement in a text, if this participant of this group made it. */
function announcementIn(text: string, id: string, group: Group): Announcement | undefined {
  try {
    const signed = group.role === 'worker' ? decodeStored(Buffer.from(text)) : undefined;
    const parsed = Announcement.safeParse(JSON.parse(signed?.payload.toString('utf8') ?? text));
    if (!parsed.success || parsed.data.id !== id || parsed.data.role !== group.role) return undefined;
    if (group.role === 'worker' && (parsed.data.pool !== group.pool || !isOwn(parsed.data, signed))) return undefined;
    return parsed.data;
  } catch {
    return undefined;
  }
}

function parseRow(row: unknown): { id: string; text: string } {
  const [id, text] = cells(row);
  return { id: String(id), text: String(text) };
}

/** Whether the worker whose id this is signed it. Throws where its key is none. */
function isOwn({ id, publicKey }: Announcement, signed: SignedPayload | undefined): boolean {
  if (signed === undefined || publicKey === undefined) return false;
  const key = publicKeyFromBase64(publicKey);
  return workerIdOf(key) === id && verifyPayload(key, signed, PAYLOAD_TYPE);
}

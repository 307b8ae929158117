import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { optional, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Caller } from '../tenants/api-key.ts';
import { ApiKeys } from '../tenants/api-key.store.ts';
import { SESSION_LIFE_MS, nameOf, newToken } from './session.ts';

const TAKE_LINK = loadScript(new URL('./lua/take-link.lua', import.meta.url), optional(text));

/** A link is for the one to whom it was just shown. */
export const LINK_LIFE_MS = 15 * 60_000;

const Stored = z.object({ key: z.string(), isReadOnly: z.boolean() });

/** Whoever is signed in. A session has the powers that its key has at the moment, or only those to look. */
export interface Session {
  readonly caller: Caller;
  readonly isReadOnly: boolean;
}

/**
 * Sessions of browsers, and links that begin one and work once. Redis holds hashes of their secrets. A
 * session names the key that began it and is valid as long as this key is. Any number of calls may run at
 * once.
 */
@Injectable()
export class Sessions {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #apiKeys: ApiKeys;
  readonly #audit: AuditLog;

  constructor(redis: Redis, keys: RedisKeys, apiKeys: ApiKeys, audit: AuditLog) {
    this.#redis = redis;
    this.#keys = keys;
    this.#apiKeys = apiKeys;
    this.#audit = audit;
  }

  /** Begins a session for the holder of a key. Returns its secret. */
  async begin({ keyId: by, tenant }: Caller, isReadOnly: boolean): Promise<string> {
    const token = newToken();
    await this.#store(this.#keys.session(nameOf(token)), { key: by, isReadOnly }, SESSION_LIFE_MS);
    await this.#audit.note({ by, action: 'session.begin', target: by, tenant, detail: { isReadOnly } });
    return token;
  }

  /** A link for the holder of a key. Returns its secret. */
  async link({ keyId: by, tenant }: Caller, isReadOnly: boolean): Promise<string> {
    const token = newToken();
    await this.#store(this.#keys.loginLink(nameOf(token)), { key: by, isReadOnly }, LINK_LIFE_MS);
    await this.#audit.note({ by, action: 'session.link', target: by, tenant, detail: { isReadOnly } });
    return token;
  }

  /** For whom a link was made; undefined where it was used, is too old, or its key is valid no more. */
  async takeLink(token: string): Promise<Session | undefined> {
    return this.#sessionOf(await TAKE_LINK.run(this.#redis, [this.#keys.loginLink(nameOf(token))], []));
  }

  /** Who is signed in; undefined where the session has ended, or its key. */
  async find(token: string): Promise<Session | undefined> {
    return this.#sessionOf((await this.#redis.get(this.#keys.session(nameOf(token)))) ?? undefined);
  }

  /** Ends a session; of one that has ended, nothing happens. */
  async end(token: string, { keyId: by, tenant }: Caller): Promise<void> {
    if ((await this.#redis.unlink(this.#keys.session(nameOf(token)))) === 0) return;
    await this.#audit.note({ by, action: 'session.end', target: by, tenant, detail: {} });
  }

  async #store(key: string, session: z.infer<typeof Stored>, lifeMs: number): Promise<void> {
    await this.#redis.set(key, JSON.stringify(session), 'PX', lifeMs);
  }

  async #sessionOf(stored: string | undefined): Promise<Session | undefined> {
    if (stored === undefined) return undefined;
    const { key, isReadOnly } = Stored.parse(JSON.parse(stored));
    const caller = await this.#apiKeys.holder(key);
    return caller === undefined ? undefined : { caller, isReadOnly };
  }
}

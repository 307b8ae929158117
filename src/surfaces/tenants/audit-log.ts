import { Injectable } from '@nestjs/common';
import { Redis, type ChainableCommander } from 'ioredis';
import { RedisKeys } from '../../ground/redis/keys.ts';

/** The audit log forgets its oldest entries beyond about so many. */
export const MAX_ENTRIES = 100_000;

export interface AuditEntry {
  /** Id of the entry in the stream; later entries have greater ids. */
  readonly id: string;
  readonly at: string;
  /** Id of the API key that made the change, or `cli` for a holder of the API's Redis password. */
  readonly by: string;
  readonly action: string;
  readonly target: string;
  readonly detail: unknown;
}

/**
 * Who changed what about tenants and keys. The ACL lets the API append to this stream, but not change or
 * delete.
 */
@Injectable()
export class AuditLog {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Makes a change and records it, both or neither. Throws what Redis answers. */
  async with(
    by: string,
    action: string,
    target: string,
    detail: object,
    change: (multi: ChainableCommander) => ChainableCommander,
  ): Promise<void> {
    const fields = { by, action, target, detail: JSON.stringify(detail) };
    const multi = this.#redis.multi();
    change(multi).xadd(this.#keys.audit, 'MAXLEN', '~', MAX_ENTRIES, '*', ...Object.entries(fields).flat());
    for (const [error] of (await multi.exec()) ?? []) if (error) throw error;
  }

  /** At most `limit` entries, newest first, older than the entry `before` if it is given. */
  async list(limit: number, before: string | undefined): Promise<AuditEntry[]> {
    const rows = await this.#redis.xrevrange(
      this.#keys.audit,
      before === undefined ? '+' : `(${before}`,
      '-',
      'COUNT',
      limit,
    );
    return rows.map(([id, cells]) => {
      const fields = new Map<string, string>();
      for (let at = 0; at + 1 < cells.length; at += 2) fields.set(cells[at] ?? '', cells[at + 1] ?? '');
      return {
        id,
        at: new Date(Number(id.split('-')[0])).toISOString(),
        by: fields.get('by') ?? '',
        action: fields.get('action') ?? '',
        target: fields.get('target') ?? '',
        detail: JSON.parse(fields.get('detail') ?? 'null') as unknown,
      };
    });
  }
}

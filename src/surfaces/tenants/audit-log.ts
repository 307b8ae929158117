import { Injectable } from '@nestjs/common';
import { Redis, type ChainableCommander } from 'ioredis';
import { RedisKeys } from '../../ground/redis/keys.ts';

const MAX_ENTRIES = 100_000;

export interface AuditEntry {
  readonly id: string;
  readonly at: string;
  /** The key that did it, or `cli` for whoever holds the API's Redis user. */
  readonly by: string;
  readonly action: string;
  readonly target: string;
  readonly detail: unknown;
}

/** Who changed what about tenants and keys. Redis lets the API append here, and neither change nor delete. */
@Injectable()
export class AuditLog {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Does the change and writes it down, both or neither. */
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

  /** The newest first, before an entry where one is named. */
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

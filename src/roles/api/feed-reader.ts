import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { FeedEventId } from './request-headers.ts';
import { waitFor } from '../../core/jobs/wake.ts';

const LOOK_EVERY_MS = 200;
const EVENTS_PER_READ = 200;

/** A tenant's events, in the order in which the courier wrote them. The id of an event is its place. */
@Injectable()
export class FeedReader {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Where to begin: after the event that the client saw last, or with the next event. Throws CodedError
   * `request_invalid`.
   */
  async place(tenant: string, lastEventId: string | undefined): Promise<string> {
    if (lastEventId !== undefined) {
      const parsed = FeedEventId.safeParse(lastEventId);
      if (parsed.success) return parsed.data;
      throw new CodedError('request_invalid', 'The Last-Event-ID is not the id of an event of this stream.');
    }
    const [newest] = await this.#redis.xrevrange(this.#keys.feed(tenant), '+', '-', 'COUNT', 1);
    return newest?.[0] ?? '0-0';
  }

  async *frames(tenant: string, since: string, signal: AbortSignal): AsyncGenerator<string> {
    yield 'retry: 2000\n\n';
    let last = since;
    while (!signal.aborted) {
      const entries = await this.#redis.xrange(this.#keys.feed(tenant), `(${last}`, '+', 'COUNT', EVENTS_PER_READ);
      for (const [id, cells] of entries) {
        const fields = new Map(
          cells.flatMap((cell, at) => (at % 2 === 0 ? [[cell, cells[at + 1] ?? ''] as const] : [])),
        );
        yield `id: ${id}\nevent: ${fields.get('type') ?? 'message'}\ndata: ${fields.get('data') ?? '{}'}\n\n`;
        last = id;
      }
      if (entries.length < EVENTS_PER_READ) await waitFor(new Promise(() => undefined), LOOK_EVERY_MS, signal);
    }
  }
}

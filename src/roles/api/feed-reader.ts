import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { FeedEventId } from './request-headers.ts';
import { waitFor } from '../../core/jobs/wake.ts';
import { before, gapAfter } from './feed-gap.ts';

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
   * `request_invalid` where that cannot be the id of an event.
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

  /**
   * The events after `since`, as they come. Where events between have not been kept, or where Redis has lost
   * what it had, a frame `gap` says so first, and with which event the stream goes on.
   */
  async *frames(tenant: string, since: string, signal: AbortSignal): AsyncGenerator<string> {
    yield 'retry: 2000\n\n';
    let last = since;
    // Whoever keeps up with what comes misses nothing.
    let mayMiss = true;
    while (!signal.aborted) {
      const begins = mayMiss ? await this.#beginsAfterGap(tenant, last) : undefined;
      if (begins !== undefined) {
        yield `event: gap\ndata: ${JSON.stringify({ type: 'gap', data: { after: last, begins } })}\n\n`;
        last = begins === '' ? '0-0' : before(begins);
      }
      const entries = await this.#redis.xrange(this.#keys.feed(tenant), `(${last}`, '+', 'COUNT', EVENTS_PER_READ);
      for (const [id, cells] of entries) {
        const fields = new Map(
          cells.flatMap((cell, at) => (at % 2 === 0 ? [[cell, cells[at + 1] ?? ''] as const] : [])),
        );
        yield `id: ${id}\nevent: ${fields.get('type') ?? 'message'}\ndata: ${fields.get('data') ?? '{}'}\n\n`;
        last = id;
      }
      mayMiss = entries.length === EVENTS_PER_READ;
      if (!mayMiss) await waitFor(new Promise(() => undefined), LOOK_EVERY_MS, signal);
    }
  }

  /**
   * The oldest event that is kept, where what follows `last` is not kept whole: the event itself is gone, and
   * so others after it may be; or there never was such an event here. Undefined where there is no gap.
   */
  async #beginsAfterGap(tenant: string, last: string): Promise<string | undefined> {
    if (last === '0-0') return undefined;
    const feed = this.#keys.feed(tenant);
    const [[oldest], [newest]] = await Promise.all([
      this.#redis.xrange(feed, '-', '+', 'COUNT', 1),
      this.#redis.xrevrange(feed, '+', '-', 'COUNT', 1),
    ]);
    return gapAfter(last, oldest?.[0], newest?.[0]);
  }
}

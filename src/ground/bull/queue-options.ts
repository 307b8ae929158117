import type { QueueOptions } from 'bullmq';
import type { Redis } from 'ioredis';

/** Nobody listens to BullMQ's own events; the stream is kept as short as it can be. */
export const EVENTS_KEPT = 10;

/** How a queue is opened: on a connection that others use too, without BullMQ's own events. */
export function queueOptions(connection: Redis, prefix: string): QueueOptions {
  return {
    connection,
    prefix,
    skipVersionCheck: true,
    streams: { events: { maxLen: EVENTS_KEPT } },
  };
}

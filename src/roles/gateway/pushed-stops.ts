import type { FastifyReply } from 'fastify';
import type { StopFeed } from '../../core/leasing/stop-feed.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { gauge } from '../../ground/metrics/process-metrics.ts';

const ALIVE_EVERY_MS = 15_000;
const MOST_STREAMS = 5_000;
/** A worker that does not read is dropped: its renewals say the same. */
const MOST_BUFFERED_BYTES = 65_536;

/** The streams by which workers hear at once what is to stop; one for each worker, the newest. */
export class PushedStops {
  readonly #feed: StopFeed;
  readonly #streams = new Map<string, FastifyReply>();

  constructor(feed: StopFeed) {
    this.#feed = feed;
    gauge('countersign_event_streams', () => this.#streams.size);
  }

  /** Answers with the stops of this worker until it goes. Throws CodedError `too_many_streams`. */
  serve(worker: string, reply: FastifyReply): void {
    const before = this.#streams.get(worker);
    if (before === undefined && this.#streams.size >= MOST_STREAMS)
      throw new CodedError('too_many_streams', 'Too many workers listen here; renewals say the same.', {
        headers: { 'retry-after': '30' },
      });
    before?.raw.end();
    this.#streams.set(worker, reply);
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
    const write = (text: string) => {
      if (raw.writableLength > MOST_BUFFERED_BYTES) raw.destroy();
      else if (!raw.writableEnded) raw.write(text);
    };
    const listening = this.#feed.listen(worker, (stop) => write(`data: ${JSON.stringify(stop)}\n\n`));
    const alive = setInterval(() => write(': still here\n\n'), ALIVE_EVERY_MS);
    raw.once('error', () => raw.destroy());
    raw.once('close', () => {
      clearInterval(alive);
      listening[Symbol.dispose]();
      if (this.#streams.get(worker) === reply) this.#streams.delete(worker);
    });
    write(': listening\n\n');
  }

  /** Ends all, so that their workers listen elsewhere. */
  close(): void {
    for (const { raw } of this.#streams.values()) raw.end();
  }
}

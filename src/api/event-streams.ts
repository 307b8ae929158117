import type { ServerResponse } from 'node:http';
import { CodedError } from '../errors/coded-error.ts';
import { isFinal } from '../jobs/job-state.ts';
import { chunkEvents, formatEvent, inOrder, isAfter, stateEvents, type Chunk, type EventId } from './job-events.ts';
import type { Jobs } from './jobs.ts';
import { LOOK_AGAIN_MS, waitFor, type Wake } from './wake.ts';

const HEARTBEAT_MS = 15_000;
/** A client that does not read is dropped; it can come back with its Last-Event-ID. */
const MAX_BUFFERED_BYTES = 262_144;
const MAX_AGE_MS = 3_600_000;
const BEFORE_ALL: EventId = [-1, 0, 0];

/** Server-sent events of jobs, with bounds on how many are open, for how long, and how far a client may lag. */
export class EventStreams {
  readonly #jobs: Jobs;
  readonly #wake: Wake;
  readonly #most: number;
  readonly #mostPerKey: number;
  readonly #open = new Map<string, number>();
  readonly #controllers = new Set<AbortController>();

  constructor(parts: { jobs: Jobs; wake: Wake; most: number; mostPerKey: number }) {
    this.#jobs = parts.jobs;
    this.#wake = parts.wake;
    this.#most = parts.most;
    this.#mostPerKey = parts.mostPerKey;
  }

  get size(): number {
    return this.#controllers.size;
  }

  closeAll(): void {
    for (const controller of this.#controllers) controller.abort();
  }

  /** Throws CodedError `too_many_streams`; call it before anything is written. */
  requireRoom(keyId: string): void {
    if (this.#controllers.size < this.#most && (this.#open.get(keyId) ?? 0) < this.#mostPerKey) return;
    throw new CodedError('too_many_streams', 'Too many event streams are open; close some, or poll the job instead.', {
      headers: { 'retry-after': '5' },
    });
  }

  /** Writes events after `since` until the job is final or somebody goes away. The response is ended when it returns. */
  async serve(
    response: ServerResponse,
    caller: { tenant: string; keyId: string },
    id: string,
    since: EventId | undefined,
  ): Promise<void> {
    const controller = new AbortController();
    const { signal } = controller;
    const gone = () => controller.abort();
    response.once('close', gone);
    response.once('error', gone);
    const age = setTimeout(gone, MAX_AGE_MS);
    const heartbeat = setInterval(() => write(response, ': still here\n\n', controller), HEARTBEAT_MS);
    this.#controllers.add(controller);
    this.#open.set(caller.keyId, (this.#open.get(caller.keyId) ?? 0) + 1);
    try {
      await this.#follow(response, caller.tenant, id, since ?? BEFORE_ALL, controller, signal);
    } finally {
      clearTimeout(age);
      clearInterval(heartbeat);
      this.#controllers.delete(controller);
      const left = (this.#open.get(caller.keyId) ?? 1) - 1;
      if (left > 0) this.#open.set(caller.keyId, left);
      else this.#open.delete(caller.keyId);
      response.end();
    }
  }

  async #follow(
    response: ServerResponse,
    tenant: string,
    id: string,
    since: EventId,
    controller: AbortController,
    signal: AbortSignal,
  ): Promise<void> {
    let last = since;
    let place = '0-0';
    let wake: () => void = () => undefined;
    using _listening = this.#wake.listen(id, () => wake());
    write(response, 'retry: 2000\n\n', controller);
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      // The documents first: chunks of an attempt are written before its evidence, so none of those is missed.
      const view = await this.#jobs.get(tenant, id);
      const chunks: Chunk[] = [];
      for (let more = true; more;) {
        const read = await this.#jobs.chunks(tenant, id, place);
        // Chunks of an attempt that the snapshot does not know yet are read again next time.
        const ahead = read.chunks.findIndex((chunk) => chunk.epoch > view.attempts.length);
        chunks.push(...(ahead < 0 ? read.chunks : read.chunks.slice(0, ahead)));
        if (ahead >= 0) break;
        place = read.last;
        more = read.more;
      }
      for (const event of inOrder([...stateEvents(view), ...chunkEvents(id, view.attempts, chunks)])) {
        if (!isAfter(event.id, last)) continue;
        write(response, formatEvent(event), controller);
        last = event.id;
      }
      if (isFinal(view.state)) return;
      await waitFor(woken, LOOK_AGAIN_MS, signal);
    }
  }
}

function write(response: ServerResponse, text: string, controller: AbortController): void {
  if (response.destroyed || response.writableEnded) return;
  response.write(text);
  if (response.writableLength <= MAX_BUFFERED_BYTES) return;
  controller.abort();
  response.destroy();
}

import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';

const HEARTBEAT_MS = 15_000;
/** A client that does not read is dropped; it can come back where it was. */
const MAX_BUFFERED_BYTES = 262_144;
const MAX_AGE_MS = 3_600_000;
/** So soon does a stream end with the key that opened it. */
const LOOK_AT_KEYS_MS = 2_000;

/**
 * Server-sent events, with bounds on how many streams are open, for how long, and how far a client may lag. A
 * stream ends with the key that opened it.
 */
export class EventStreams {
  readonly #max: number;
  readonly #maxPerKey: number;
  readonly #open = new Map<string, number>();
  readonly #controllers = new Map<AbortController, string>();
  readonly #isValid: (keyId: string) => Promise<boolean>;
  #looking: NodeJS.Timeout | undefined;

  /** `isValid` says whether a key may still read. */
  constructor(bounds: { max: number; maxPerKey: number }, isValid: (keyId: string) => Promise<boolean>) {
    this.#max = bounds.max;
    this.#maxPerKey = bounds.maxPerKey;
    this.#isValid = isValid;
  }

  get size(): number {
    return this.#controllers.size;
  }

  closeAll(): void {
    for (const controller of this.#controllers.keys()) controller.abort();
  }

  /** Ends the streams whose keys are valid no more. What cannot be asked now is asked again. */
  async #endInvalid(): Promise<void> {
    for (const keyId of new Set(this.#controllers.values())) {
      if (await this.#isValid(keyId).catch(() => true)) continue;
      for (const [controller, opener] of this.#controllers) if (opener === keyId) controller.abort();
    }
  }

  /** Throws CodedError `too_many_streams`; call it before anything is written. */
  requireRoom(keyId: string): void {
    if (this.#controllers.size < this.#max && (this.#open.get(keyId) ?? 0) < this.#maxPerKey) return;
    throw new CodedError('too_many_streams', 'Too many event streams are open; close some, or poll the job instead.', {
      headers: { 'retry-after': '5' },
    });
  }

  /**
   * Answers with the frames until they end or somebody goes away; the signal that the frames are made with is
   * aborted then. Whatever they throw ends the stream without a last word: frames that can fail say so
   * themselves.
   */
  async serve(
    reply: FastifyReply,
    keyId: string,
    frames: (signal: AbortSignal) => AsyncIterable<string>,
    headers: Record<string, string> = {},
  ): Promise<void> {
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      ...pickStrings(reply.getHeaders()),
      ...headers,
    });
    response.flushHeaders();
    const controller = new AbortController();
    const gone = () => controller.abort();
    response.once('close', gone);
    response.once('error', gone);
    const age = setTimeout(gone, MAX_AGE_MS);
    const heartbeat = setInterval(() => write(response, ': still here\n\n', controller), HEARTBEAT_MS);
    this.#controllers.set(controller, keyId);
    this.#looking ??= setInterval(() => void this.#endInvalid(), LOOK_AT_KEYS_MS);
    this.#open.set(keyId, (this.#open.get(keyId) ?? 0) + 1);
    try {
      for await (const frame of frames(controller.signal)) write(response, frame, controller);
    } catch {
      response.destroy();
    } finally {
      clearTimeout(age);
      clearInterval(heartbeat);
      this.#controllers.delete(controller);
      if (this.#controllers.size === 0) {
        clearInterval(this.#looking);
        this.#looking = undefined;
      }
      const left = (this.#open.get(keyId) ?? 1) - 1;
      if (left > 0) this.#open.set(keyId, left);
      else this.#open.delete(keyId);
      response.end();
    }
  }
}

/** Headers that a guard has set already, such as those of limits. */
function pickStrings(headers: ReturnType<FastifyReply['getHeaders']>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  );
}

function write(response: ServerResponse, text: string, controller: AbortController): void {
  if (response.destroyed || response.writableEnded) return;
  response.write(text);
  if (response.writableLength <= MAX_BUFFERED_BYTES) return;
  controller.abort();
  response.destroy();
}

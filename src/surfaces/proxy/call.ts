import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { once } from 'node:events';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { JsonRefused, decodeUtf8, parseStrictJson } from '../../ground/json/strict-json.ts';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { openAiError, retryHeaders } from '../openai/openai-error.ts';
import { UpstreamRefusal } from './upstream.ts';

/** As much as the service takes. */
const MAX_BODY_BYTES = MAX_INPUT_BYTES + 65_536;
const MAX_DEPTH = 32;

/** One request of a caller, and what it is answered. */
export class Call {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #over = new AbortController();

  constructor(request: IncomingMessage, response: ServerResponse, timeoutMs: number) {
    this.method = request.method ?? 'GET';
    this.path = (request.url ?? '/').split('?')[0] ?? '/';
    this.headers = request.headers;
    this.#request = request;
    this.#response = response;
    const timer = setTimeout(() => this.#over.abort(new Error('The time is over.')), timeoutMs);
    response.once('close', () => {
      clearTimeout(timer);
      this.#over.abort(new CallerGone());
    });
  }

  /** Aborted with CallerGone when the caller hangs up, and with another reason when the time is over. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  /** A header that is given once; undefined where it is absent or doubled. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return typeof value === 'string' ? value : undefined;
  }

  /**
   * The body, an object of JSON. Throws CodedErrors `media_type_unsupported`, `body_too_large`,
   * `body_not_json`, `request_invalid`.
   */
  async body(): Promise<Record<string, unknown>> {
    // Pages of other origins can send anything but this type without asking first.
    if (!/^application\/json\s*(;|$)/i.test(this.header('content-type') ?? ''))
      throw new CodedError('media_type_unsupported', 'The body must be application/json.');
    const value = parsed(await this.#bytes());
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new CodedError('request_invalid', 'the body: an object is expected here.');
    return Object.fromEntries(Object.entries(value));
  }

  async #bytes(): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of this.#request as AsyncIterable<Uint8Array>) {
      length += piece.length;
      if (length <= MAX_BODY_BYTES) pieces.push(piece);
    }
    if (length > MAX_BODY_BYTES)
      throw new CodedError('body_too_large', `The body has more than ${MAX_BODY_BYTES} bytes.`);
    return Buffer.concat(pieces);
  }

  answer(
    status: number,
    type: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    if (this.#response.destroyed) return;
    this.#response.writeHead(status, { ...headers, 'content-type': type, ...ALWAYS }).end(body);
  }

  /** An error in OpenAI's shape; one that the service answered, as it was. */
  refuse(error: CodedError): void {
    const headers = { ...retryHeaders(error), ...error.headers };
    const passed = error instanceof UpstreamRefusal ? error.passed : undefined;
    this.answer(passed?.status ?? error.status, JSON_TYPE, passed?.body ?? JSON.stringify(openAiError(error)), headers);
  }

  /** Begins an event stream, once. */
  begin(headers: Readonly<Record<string, string>>): void {
    if (this.hasBegun) return;
    this.#response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8', ...ALWAYS });
    this.#response.flushHeaders();
  }

  /** Writes a part of it, no faster than the caller reads. */
  async write(text: string): Promise<void> {
    this.signal.throwIfAborted();
    if (!this.#response.write(text)) await once(this.#response, 'drain', { signal: this.signal });
  }

  end(): void {
    this.#response.end();
  }
}

/** Nobody waits for the answer any more. */
export class CallerGone extends Error {
  override readonly name = 'CallerGone';
}

export const JSON_TYPE = 'application/json; charset=utf-8';
const ALWAYS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

function parsed(bytes: Buffer): unknown {
  try {
    return parseStrictJson(decodeUtf8(bytes), { maxDepth: MAX_DEPTH });
  } catch (error) {
    if (error instanceof JsonRefused) throw new CodedError('body_not_json', error.message);
    throw error;
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import { errorIn } from '../../surfaces/http/problem-error.ts';

const MAX_ATTEMPTS = 10;
const RETRY_STEP_MS = 200;

/**
 * A small client of our own HTTP API, for the commands. Every method throws a CodedError: the one of the
 * problem document that the API answered, or `storage_unavailable` if no API answers. Any number of calls may
 * run at once.
 */
export class ApiClient {
  readonly url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.url = url.replace(/\/$/, '');
    this.#key = key;
  }

  /** Submits a job and returns it as it stands, or as it stands after `waitS` seconds at most. */
  async submit(
    body: unknown,
    options: { idempotencyKey?: string | undefined; waitS?: number | undefined } = {},
  ): Promise<JobDocument> {
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (options.idempotencyKey !== undefined) headers['idempotency-key'] = `"${options.idempotencyKey}"`;
    if (options.waitS !== undefined) headers['prefer'] = `wait=${options.waitS}`;
    return (await (
      await this.#send('/v1/jobs', { method: 'POST', headers, body: JSON.stringify(body) })
    ).json()) as JobDocument;
  }

  /** The parsed body of any other call. */
  async json(path: string, method: 'GET' | 'POST' | 'PATCH' | 'DELETE' = 'GET', body?: unknown): Promise<unknown> {
    const init =
      body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return (await this.#send(path, { method, ...init })).json();
  }

  async job(id: string): Promise<JobDocument> {
    return (await this.json(`/v1/jobs/${encodeURIComponent(id)}`)) as JobDocument;
  }

  /** The body of a GET, byte for byte. */
  async bytes(path: string): Promise<Buffer> {
    return Buffer.from(await (await this.#send(path, {})).arrayBuffer());
  }

  /** The body of a GET as it comes. */
  async *pieces(path: string): AsyncGenerator<Uint8Array> {
    const { body } = await this.#send(path, {});
    if (body !== null) yield* body;
  }

  /**
   * The events of a job until its stream ends. Reconnects with the last event id when the connection breaks,
   * and throws CodedError `storage_unavailable` after ten attempts in a row without an event.
   */
  async *events(id: string): AsyncGenerator<{ type: string; data: Record<string, unknown> }> {
    let last: string | undefined;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      try {
        const headers: Record<string, string> = last === undefined ? {} : { 'last-event-id': last };
        const response = await this.#send(`/v1/jobs/${encodeURIComponent(id)}/events`, { headers });
        for await (const event of parseEvents(response)) {
          last = event.id ?? last;
          attempt = 0;
          yield { type: event.type, data: event.data };
          if (event.id?.split('.')[1] === '9') return;
        }
      } catch (error) {
        if (error instanceof CodedError && error.code !== 'storage_unavailable') throw error;
      }
      await sleep(RETRY_STEP_MS * (attempt + 1));
    }
    throw new CodedError('storage_unavailable', 'The event stream broke off and could not be resumed.');
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${this.#key}`);
    let response: Response;
    try {
      response = await fetch(`${this.url}${path}`, { ...init, headers });
    } catch (cause) {
      throw new CodedError('storage_unavailable', `No API answers at ${this.url}: ${messageOf(cause)}.`, {
        cause,
        hint: 'start one with: countersign up',
      });
    }
    if (response.ok) return response;
    throw errorIn(await response.json().catch(() => undefined), response.status);
  }
}

/** The events of a stream (HTML, section 9.2), as far as this API uses the format: one line of data each. */
async function* parseEvents(
  response: Response,
): AsyncGenerator<{ id: string | undefined; type: string; data: Record<string, unknown> }> {
  if (response.body === null) return;
  let rest = '';
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    rest += text;
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = new Map(
        block
          .split('\n')
          .flatMap((line): [string, string][] =>
            line.includes(': ') && !line.startsWith(':')
              ? [[line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]]
              : [],
          ),
      );
      const data = fields.get('data');
      if (data !== undefined)
        yield {
          id: fields.get('id'),
          type: fields.get('event') ?? 'message',
          data: JSON.parse(data) as Record<string, unknown>,
        };
    }
  }
}

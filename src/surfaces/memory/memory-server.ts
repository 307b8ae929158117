import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { MEMORY_CALLS, type Answer, type Ask, type CallName } from './memory-calls.ts';

/** A page of entries with long histories is the longest that is sent at once. */
export const MAX_CALL_BYTES = 64 * 1024 * 1024;
/** Whoever begins a call ends it in this time. */
const REQUEST_MS = 60_000;

/** What answers each call. */
export type MemoryAnswers = { readonly [Name in CallName]: (ask: Ask<Name>) => Promise<Answer<Name>> };

/**
 * The calls of `MEMORY_CALLS` as HTTP at a Unix socket that only this user may use: `POST /<call>` with what
 * is asked as JSON. An error is a status of 400 or above with its code and sentence.
 */
export class MemoryServer {
  readonly #answers: MemoryAnswers;
  readonly #logger: Logger;
  #server: Server | undefined;

  constructor(answers: MemoryAnswers, logger: Logger) {
    this.#answers = answers;
    this.#logger = logger;
  }

  /**
   * Listens at this path; a socket that is there belongs to a process that has ended, because the folder of
   * the database is locked first.
   */
  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    const server = createServer({ requestTimeout: REQUEST_MS }, (request, response) => {
      void this.#serve(request, response);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    this.#server = server;
  }

  /** Takes no new calls, and resolves when those in hand are answered. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const name = (request.url ?? '').slice(1);
      if (!isCall(name)) throw new CodedError('route_not_found', 'The memory has no such call.');
      this.#send(response, 200, await this.#answer(name, await readJson(request)));
    } catch (error) {
      const coded =
        error instanceof CodedError ? error : new CodedError('internal', 'The memory failed.', { cause: error });
      if (coded.status === 500) this.#logger.error({ err: coded.cause ?? coded }, messageOf(coded));
      const { code, message, hint, param, status } = coded;
      this.#send(response, status, { code, message, hint, param });
    }
  }

  async #answer<Name extends CallName>(name: Name, body: unknown): Promise<Answer<Name>> {
    const { ask } = MEMORY_CALLS[name];
    const parsed = ask.safeParse(body);
    if (!parsed.success) throw new CodedError('request_invalid', parsed.error.issues[0]?.message ?? 'It is not valid.');
    // The schema of this call has parsed it.
    return this.#answers[name](parsed.data as Ask<Name>);
  }

  #send(response: ServerResponse, status: number, body: unknown): void {
    const bytes = Buffer.from(JSON.stringify(body));
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length });
    response.end(bytes);
  }
}

const isCall = (name: string): name is CallName => Object.hasOwn(MEMORY_CALLS, name);

async function readJson(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request) {
    const bytes = Buffer.from(piece as Uint8Array);
    length += bytes.length;
    if (length > MAX_CALL_BYTES) throw new CodedError('body_too_large', 'The call is too large.');
    pieces.push(bytes);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch (cause) {
    throw new CodedError('body_not_json', 'The call is not JSON.', { cause });
  }
}

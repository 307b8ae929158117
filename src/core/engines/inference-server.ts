import { z } from 'zod';
import { redact } from '../../ground/logging/redact.ts';
import type { Secret } from '../../ground/config/secret.ts';
import { systemCodeOf } from '../../ground/errors/coded-error.ts';
import { parseRetryAfter } from '../../proof/contract/retry-after.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { EngineError } from './engine.ts';
import { overloadMessage } from './overload.ts';

/** A server that has answered within this time is not asked again whether it is there. */
export const SEEN_MS = 500;
const MAX_LINE = 1_048_576;
/** An output, escaped, and what stands around it. */
const MAX_WHOLE = 2 * MAX_OUTPUT_BYTES;
/** Of an answer that refuses, so much is read. */
const MAX_REFUSAL = 8_192;

/** The HTTP side of one server: its address, its key, and what its refusals mean. */
export class InferenceServer {
  readonly #baseUrl: string;
  readonly #apiKey: Secret | undefined;
  /** When (ms of this process) the server last showed that it is there. */
  #seenMs = -Infinity;

  constructor(baseUrl: string, apiKey: Secret | undefined) {
    // Clients are given the address with this end, and people copy it.
    this.#baseUrl = baseUrl.replace(/(\/v1)?\/*$/, '');
    this.#apiKey = apiKey;
  }

  get origin(): string {
    return new URL(this.#baseUrl).origin;
  }

  get wasSeenJustNow(): boolean {
    return performance.now() - this.#seenMs < SEEN_MS;
  }

  /** Nothing is known of it any more. */
  lost(): void {
    this.#seenMs = -Infinity;
  }

  /**
   * The answer to one request, whatever its status; a body makes it a POST. Redirects are not followed.
   * Throws what fetch throws.
   */
  async ask(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    const request = {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#apiKey === undefined ? {} : { authorization: `Bearer ${this.#apiKey.reveal().trim()}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal,
    } as const;
    const url = `${this.#baseUrl}${path}`;
    // A kept connection that the server had just closed says nothing about the server: once more, on a new
    // one.
    const response = await fetch(url, request).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!isClosedConnection(error)) throw error;
      return fetch(url, request);
    });
    if (response.ok) this.#seenMs = performance.now();
    else if (response.status >= 500) this.lost();
    return response;
  }

  /** As `ask`, for an answer that is wanted. Throws EngineError where the server refuses. */
  async send(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    const response = await this.ask(path, body, signal);
    if (response.ok) return response;
    throw await refusalOf(response);
  }
}

/** What of a refusal may be a tenant's fault; the rest is between the operator and the server. */
const TENANTS_FAULT: ReadonlySet<number> = new Set([400, 409, 413, 422]);

const Refusal = z.object({
  error: z.union([
    z.object({ message: z.string(), code: z.unknown().optional(), type: z.unknown().optional() }),
    z.string().transform((message) => ({ message, code: undefined, type: undefined })),
  ]),
});

/**
 * What a refusal means for the job. What a server says of its own trouble, or of this worker's key, is not
 * shown to tenants; it is the cause, for the log.
 */
async function refusalOf(response: Response): Promise<EngineError> {
  const { status, headers } = response;
  // Some servers repeat the key that they were sent.
  const text = redact((await response.text().catch(() => '')).slice(0, MAX_REFUSAL));
  const cause = new Error(`The inference server answered ${status}: ${text.slice(0, 300)}`);
  if (status === 429 || status === 503)
    return new EngineError(
      'engine_overloaded',
      overloadMessage(status, parseRetryAfter(headers.get('retry-after'), Date.now())),
      { cause },
    );
  if (!TENANTS_FAULT.has(status))
    return new EngineError('engine_error', `The inference server answered ${status} to this worker.`, { cause });
  const said = readRefusal(text);
  if (isAboutTheKey(said))
    return new EngineError('engine_error', `The inference server answered ${status} to this worker.`, { cause });
  if (isContextExceeded(said))
    return new EngineError('context_exceeded', said.message.slice(0, 200) || 'The prompt is too long.', { cause });
  return new EngineError('engine_refused', `The inference server answered ${status}: ${said.message.slice(0, 200)}`, {
    cause,
  });
}

function readRefusal(text: string): { message: string; code: string } {
  try {
    const { message, code, type } = Refusal.parse(JSON.parse(text)).error;
    return { message, code: `${String(code)} ${String(type)}` };
  } catch {
    return { message: text, code: '' };
  }
}

/** Some services say with 400 what others say with 401 and 402. */
function isAboutTheKey({ message, code }: { message: string; code: string }): boolean {
  return (
    /api_key|authentication|billing|insufficient_quota/i.test(code) ||
    /^((incorrect|invalid|missing|no) )?api key\b/i.test(message)
  );
}

/** vLLM, SGLang, llama.cpp and OpenAI each say it in words of their own. */
function isContextExceeded({ message, code }: { message: string; code: string }): boolean {
  return (
    /context_length_exceeded|exceed_context_size/.test(code) ||
    /maximum context length|context (length|size|window)|longer than the model|exceeds? the (maximum|available|model)/i.test(
      message,
    )
  );
}

/** What a server says of its trouble while it answers is for its operator: it stands in the worker's log. */
export function failedMidway(cause: unknown): EngineError {
  return new EngineError('engine_error', 'The inference server failed while it answered.', { cause });
}

/** As Node's fetch says that the other side closed before it answered. */
function isClosedConnection(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = systemCodeOf(cause);
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

/**
 * The data of server-sent events, an event at a time; of an answer that is no stream, all of it. Throws
 * EngineError where a line has no end, and where an event is one of an error.
 */
export async function* serverSentData(response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  const isWhole = /^application\/json\b/i.test(response.headers.get('content-type') ?? '');
  const most = isWhole ? MAX_WHOLE : MAX_LINE;
  let rest = '';
  let isError = false;
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    rest += text;
    if (rest.length > most) throw new EngineError('engine_error', 'The inference server sent a line without an end.');
    if (isWhole) continue;
    const lines = rest.split(/\r\n|\n|\r/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (/^event: ?error$/.test(line)) isError = true;
      else if (line === '') isError = false;
      if (!line.startsWith('data:')) continue;
      if (isError) throw failedMidway(line.slice(0, MAX_REFUSAL));
      yield line.slice(5).trim();
    }
  }
  if (isWhole) yield rest;
  else if (rest.startsWith('data:')) yield rest.slice(5).trim();
}

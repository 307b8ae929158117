import { setTimeout as pause } from 'node:timers/promises';
import type { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { ErrorCode } from '../../ground/errors/catalog.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { Problem } from '../../proof/contract/problem.ts';
import type { Send } from './gateway-door.ts';
import { SIGNED_HEADERS, requestBytes, sessionBytes } from './request-signature.ts';
import { Challenge, ROUTES, Session } from './wire.ts';

/** A gateway that does not answer is asked again after this long at first, and at most, ms. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** Longer than a request for leases waits. */
const ANSWER_MS = 75_000;
const MOST_ANSWER_BYTES = 64 * 1_048_576;
/** So many sessions in a row that a gateway does not know are no accident. */
const MOST_UNKNOWN = 10;

export interface GatewayRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Path and query. */
  readonly target: string;
  readonly json?: unknown;
  readonly bytes?: Uint8Array;
  /** For how long (ms) a gateway that is away is asked again; 0 asks once. */
  readonly patienceMs?: number;
  readonly signal?: AbortSignal;
}

/** A session as this worker holds it. */
interface OwnSession {
  readonly facts: Session;
  readonly renewAt: number;
  readonly endsAt: number;
  number: number;
}

/**
 * Asks a gateway, in a session that it opens and renews by itself. Each request is signed anew when it is
 * sent again, and what it asks for may be repeated without harm. Any number of calls at once.
 */
export class GatewayClient {
  readonly #url: string;
  readonly #key: SigningKey;
  readonly #send: Send;
  readonly #warn: (error: unknown) => void;
  #isThere = false;
  #session: OwnSession | undefined;
  #opening: Promise<OwnSession> | undefined;

  /** `url` has no slash at its end. */
  constructor(url: string, key: SigningKey, logger: Logger, send: Send = fetch) {
    this.#url = url;
    this.#key = key;
    this.#send = send;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      logger.warn({ suppressed }, `gateway: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /** Whether the gateway answered when it was asked last. */
  get isThere(): boolean {
    return this.#isThere;
  }

  /**
   * The session that is open, or a new one; a gateway that is away is asked again for `patienceMs`. Throws
   * CodedError as the gateway refuses, or `gateway_away`.
   */
  async session(patienceMs: number): Promise<Session> {
    return this.#patiently(patienceMs, undefined, async () => (await this.#current()).facts);
  }

  /** What the gateway answers, by its schema. Throws CodedError as the gateway refuses, or `gateway_away`. */
  async ask<Schema extends z.ZodType>(schema: Schema, request: GatewayRequest): Promise<z.infer<Schema>> {
    const bytes = await this.bytes(request);
    const parsed = schema.safeParse(bytes.length === 0 ? undefined : JSON.parse(bytes.toString('utf8')));
    if (parsed.success) return parsed.data;
    throw new CodedError('gateway_away', `What the gateway answers to ${request.target} cannot be read.`, {
      cause: parsed.error,
    });
  }

  /** The bytes that the gateway answers. Throws as `ask`. */
  bytes(request: GatewayRequest): Promise<Buffer> {
    return this.#patiently(request.patienceMs ?? 0, request.signal, () => this.#once(request));
  }

  /** The answer to a request as it comes, for a stream of events. Throws as `ask`. */
  async stream(target: string, signal: AbortSignal): Promise<Response> {
    return this.#sendSigned({ method: 'GET', target, signal }, await this.#current(), signal);
  }

  async #patiently<Answer>(
    patienceMs: number,
    signal: AbortSignal | undefined,
    once: () => Promise<Answer>,
  ): Promise<Answer> {
    const until = performance.now() + patienceMs;
    let unknown = 0;
    for (let attempt = 0; ; attempt += 1) {
      signal?.throwIfAborted();
      try {
        const answer = await once();
        this.#isThere = true;
        return answer;
      } catch (error) {
        if (signal?.aborted === true) throw error;
        this.#isThere = !(error instanceof CodedError && error.code === 'gateway_away');
        // The session ended, or stands in a Redis that lost its tail: another is opened, a few times.
        const isUnknown = error instanceof CodedError && ASKED_AGAIN.has(error.code);
        if (isUnknown && (unknown += 1) <= MOST_UNKNOWN) continue;
        if (!isTransient(error) || performance.now() > until) throw error;
        this.#warn(error);
        await pause(pauseMs(error, attempt), undefined, { signal });
      }
    }
  }

  async #once(request: GatewayRequest): Promise<Buffer> {
    const session = await this.#current();
    const deadline = AbortSignal.timeout(ANSWER_MS);
    const signal = request.signal === undefined ? deadline : AbortSignal.any([request.signal, deadline]);
    try {
      const response = await this.#sendSigned(request, session, signal);
      return await bodyOf(response);
    } catch (error) {
      if (error instanceof CodedError && error.code === 'session_unknown' && this.#session === session)
        this.#session = undefined;
      throw asGatewayError(error, request.signal);
    }
  }

  async #sendSigned(request: GatewayRequest, session: OwnSession, signal: AbortSignal): Promise<Response> {
    const { method, target } = request;
    const body = request.bytes ?? (request.json === undefined ? undefined : Buffer.from(JSON.stringify(request.json)));
    session.number += 1;
    const signed = {
      method,
      target,
      session: session.facts.session,
      number: session.number,
      bodySha256: sha256Hex(body ?? ''),
    };
    const response = await this.#send(this.#url + target, {
      method,
      signal,
      headers: {
        ...(body === undefined
          ? {}
          : { 'content-type': request.bytes === undefined ? 'application/json' : 'application/octet-stream' }),
        [SIGNED_HEADERS.key]: this.#key.public.raw,
        [SIGNED_HEADERS.session]: signed.session,
        [SIGNED_HEADERS.number]: String(signed.number),
        [SIGNED_HEADERS.body]: signed.bodySha256,
        [SIGNED_HEADERS.signature]: this.#key.sign(requestBytes(signed)).toString('base64'),
      },
      ...(body === undefined ? {} : { body }),
    });
    if (response.ok) return response;
    throw await refusalOf(response);
  }

  /**
   * The session to ask in. It is renewed when half of its time is over; what runs meanwhile is not held up.
   */
  async #current(): Promise<OwnSession> {
    const [session, now] = [this.#session, performance.now()];
    if (session === undefined || now >= session.endsAt) return this.#open();
    if (now >= session.renewAt) this.#open().catch(this.#warn);
    return session;
  }

  #open(): Promise<OwnSession> {
    this.#opening ??= this.#openNow().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #openNow(): Promise<OwnSession> {
    const { challenge } = await askOpenly(Challenge, this.#url + ROUTES.challenges, {}, this.#send);
    const began = performance.now();
    const signature = this.#key.sign(sessionBytes(challenge)).toString('base64');
    const answered = { challenge, public_key: this.#key.public.raw, signature };
    const facts = await askOpenly(Session, this.#url + ROUTES.sessions, answered, this.#send);
    const opened = { facts, renewAt: began + facts.ends_in_ms / 2, endsAt: began + facts.ends_in_ms, number: 0 };
    this.#session = opened;
    return opened;
  }
}

/**
 * What a gateway answers without a session, by its schema. Throws CodedError as the gateway refuses, or
 * `gateway_away`.
 */
export async function askOpenly<Schema extends z.ZodType>(
  schema: Schema,
  url: string,
  json: object,
  send: Send = fetch,
): Promise<z.infer<Schema>> {
  try {
    const response = await send(url, {
      method: 'POST',
      body: JSON.stringify(json),
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!response.ok) throw await refusalOf(response);
    return schema.parse(JSON.parse((await bodyOf(response)).toString('utf8')));
  } catch (error) {
    throw asGatewayError(error, undefined);
  }
}

/** What a new signature, or a new session, mends. */
const ASKED_AGAIN: ReadonlySet<ErrorCode> = new Set(['session_unknown', 'challenge_unknown', 'request_replayed']);

/** Whether the same request may succeed later. */
export function isTransient(error: unknown): boolean {
  return error instanceof CodedError && (error.status === 429 || error.status === 503 || error.code === 'internal');
}

/** Jittered, and longer each time; never before the gateway wants it. */
function pauseMs(error: unknown, attempt: number): number {
  const wanted = error instanceof CodedError ? Number(error.headers['retry-after'] ?? 0) * 1_000 : 0;
  const own = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 10));
  return Math.max(Math.min(wanted, LONGEST_PAUSE_MS), own) * (0.5 + Math.random() / 2);
}

async function bodyOf(response: Response): Promise<Buffer> {
  const bytes = await readBounded(response, MOST_ANSWER_BYTES);
  if (bytes === undefined) throw new CodedError('gateway_away', 'The gateway answers more than it may.');
  return bytes;
}

/** The error of an answer that is a problem document; a proxy in between may answer anything. */
async function refusalOf(response: Response): Promise<CodedError> {
  const wait = response.headers.get('retry-after');
  const headers = wait === null ? {} : { 'retry-after': wait };
  const text = (await readBounded(response, 65_536))?.toString('utf8') ?? '';
  const parsed = Problem.safeParse(asJson(text));
  if (parsed.success) return new CodedError(parsed.data.code, parsed.data.detail, { headers });
  return new CodedError('gateway_away', `At the address of the gateway somebody answers ${response.status}.`, {
    headers,
  });
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function asGatewayError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (error instanceof CodedError || signal?.aborted === true) return error;
  return new CodedError('gateway_away', `The gateway does not answer: ${causeOf(error)}.`, { cause: error });
}

/** Fetch says only that it failed; why stands below. */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
}

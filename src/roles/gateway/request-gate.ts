import type { FastifyRequest } from 'fastify';
import { RateLimits } from '../../core/leasing/rate-limits.ts';
import type { Sessions } from '../../core/leasing/session.store.ts';
import { callerOf, type Caller } from '../../core/leasing/signed-request.ts';
import { ROUTES } from '../../core/remote/wire.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** Addresses that are asked before there is a session. */
const WITHOUT_SESSION: ReadonlySet<string> = new Set([ROUTES.challenges, ROUTES.sessions, ROUTES.enrolments]);
/** So many sessions a worker may open in a minute, and at once. */
const SESSIONS = { perSecond: 1 / 6, burst: 10 };

interface GateParts {
  readonly sessions: Sessions;
  /** Requests a second of one worker, and without a session of one network address. */
  readonly workerRate: number;
  readonly addressRate: number;
}

/**
 * Lets in requests of workers, before a byte of their bodies is read: signed by the key that they name, not
 * more than they may, in a session of theirs, and once. The signature costs no Redis, and comes before it.
 */
export class RequestGate {
  readonly #sessions: Sessions;
  readonly #workers: RateLimits;
  readonly #addresses: RateLimits;
  readonly #openings = new RateLimits(SESSIONS);
  readonly #callers = new WeakMap<FastifyRequest, Caller>();

  constructor({ sessions, workerRate, addressRate }: GateParts) {
    this.#sessions = sessions;
    this.#workers = new RateLimits({ perSecond: workerRate, burst: 2 * workerRate });
    this.#addresses = new RateLimits({ perSecond: addressRate, burst: 10 * addressRate });
  }

  /** Throws CodedError `signature_invalid`, `rate_limited`, `session_unknown` or `request_replayed`. */
  async enter(request: FastifyRequest): Promise<void> {
    const path = request.url.split('?', 1)[0] ?? '';
    if (!path.startsWith('/v1/worker/')) return;
    if (WITHOUT_SESSION.has(path)) {
      require(this.#addresses.take(request.ip));
      return;
    }
    const caller = callerOf(request.method, request.url, request.headers);
    require(this.#workers.take(caller.worker));
    await this.#sessions.admit(caller.session, caller.worker, caller.number);
    this.#callers.set(request, caller);
  }

  /** Throws CodedError `signature_invalid` where the body is not the one that was signed. */
  checkBody(request: FastifyRequest, body: Buffer): void {
    const caller = this.#callers.get(request);
    if (caller !== undefined && sha256Hex(body) !== caller.bodySha256)
      throw new CodedError('signature_invalid', 'The body is not the one that was signed.');
  }

  /** Throws CodedError `rate_limited` where this worker opens sessions too often. */
  requireOpening(worker: string): void {
    require(this.#openings.take(worker));
  }

  /** Who signed a request. */
  callerOf(request: FastifyRequest): Caller {
    const caller = this.#callers.get(request);
    if (caller === undefined) throw new CodedError('signature_invalid', 'The request is not signed.');
    return caller;
  }
}

function require(waitMs: number): void {
  if (waitMs === 0) return;
  throw new CodedError('rate_limited', 'Requests come faster than this gateway takes them; wait and send them again.', {
    headers: { 'retry-after': String(Math.ceil(waitMs / 1_000)) },
  });
}

import { Injectable, SetMetadata, createParamDecorator, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PROOF_HEADER, isProof, tokenIn } from '../../surfaces/dashboard/session.ts';
import { Sessions } from '../../surfaces/dashboard/session.store.ts';
import { Attempts } from '../../core/audit/attempts.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Caller as ApiCaller, Scope } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import type { AccessTokens } from '../../surfaces/mcp/access-tokens.ts';
import { ProtectedResource } from '../../surfaces/mcp/protected-resource.ts';
import { asTokenHolder } from '../../surfaces/mcp/token-terms.ts';
import { RateLimits } from '../../surfaces/tenants/rate-limits.ts';
import { holderWithin, type HolderNow } from './own-api.ts';

const SCOPE = 'countersign:scope';

/**
 * The scope that a route requires. A route without one refuses every caller, so that a forgotten scope opens
 * nothing.
 */
export const Needs = (scope: Scope | 'nobody') => SetMetadata(SCOPE, scope);

const PAYABLE = 'countersign:payable';

/** A caller without a key may pay for this request, where the operator sells by the request. */
export const Payable = () => SetMetadata(PAYABLE, true);

const TAKES_TOKENS = 'countersign:takes-tokens';

/** Access tokens may stand in for an API key here, where the operator has named their issuer. */
export const TakesTokens = () => SetMetadata(TAKES_TOKENS, true);

const REFUSES_KEY = 'countersign:refuses-idempotency-key';

/** This route makes something new each time: it refuses a key rather than leave it unheard. */
export const RefusesIdempotencyKey = () => SetMetadata(REFUSES_KEY, true);

/** Open to everyone: health, public keys, documentation. */
export const Open = () => Needs('nobody');

const callers = new WeakMap<FastifyRequest, ApiCaller>();

interface LetInByToken {
  /** The only owner whose memories it reaches; undefined for those that its key reaches. */
  readonly owner: string | undefined;
  /** Who acts by it, as things are when it is called; undefined where its key is valid no more. */
  readonly holder: HolderNow;
}
const tokens = new WeakMap<FastifyRequest, LetInByToken>();
const sessions = new WeakMap<FastifyRequest, { readonly token: string; readonly isReadOnly: boolean }>();

/** The session by which a caller was let in; undefined where it was by a key. */
export const sessionOf = (request: FastifyRequest) => sessions.get(request);

/** By which token a caller was let in; undefined where it was by something else. */
export const tokenOf = (request: FastifyRequest): LetInByToken | undefined => tokens.get(request);

/** The caller whom the guard has let in; undefined where the route is open. */
export const callerOf = (request: FastifyRequest): ApiCaller | undefined => callers.get(request);

export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): ApiCaller => {
  const caller = callers.get(context.switchToHttp().getRequest<FastifyRequest>());
  if (caller === undefined) throw new CodedError('unauthenticated', 'This address requires an API key.');
  return caller;
});

/** The route that was asked for, in words for the audit log. */
const nameOf = ({ method, routeOptions: { url } }: FastifyRequest) => `${method} ${url ?? ''}`;

/** What a session that only reads may send besides: its own end, and a question to the memory. */
const MAY_SEND: ReadonlySet<string> = new Set(['POST /v1/session', 'DELETE /v1/session', 'POST /v1/memories/search']);
/** Whoever reads it can act with it. */
const SECRET = /\/secret$/;

/** Authenticates the caller, and checks the scope of the key. */
@Injectable()
export class CallerGuard implements CanActivate {
  readonly #reflector: Reflector;
  readonly #keys: ApiKeys;
  readonly #limits: RateLimits;
  readonly #gate: PaymentGate;
  readonly #attempts: Attempts;
  readonly #sessions: Sessions;
  readonly #tokens: AccessTokens | undefined;

  constructor(
    reflector: Reflector,
    keys: ApiKeys,
    limits: RateLimits,
    gate: PaymentGate,
    attempts: Attempts,
    signedIn: Sessions,
    resource: ProtectedResource,
  ) {
    this.#attempts = attempts;
    this.#sessions = signedIn;
    this.#tokens = resource.tokens;
    this.#reflector = reflector;
    this.#keys = keys;
    this.#limits = limits;
    this.#gate = gate;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const scope = this.#reflector.get<Scope | 'nobody' | undefined>(SCOPE, context.getHandler());
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (scope === 'nobody') {
      this.#refuseKey(request, context);
      return true;
    }
    const caller = await this.#callerOf(request, context);
    const { tenant, keyId: by } = caller;
    if (scope === undefined || !caller.scopes.has(scope)) {
      this.#attempts.note({ by, action: 'refused', target: nameOf(request), tenant });
      throw new CodedError('scope_missing', `This API key lacks the required scope "${scope ?? 'none'}".`);
    }
    if (scope === 'operator') this.#attempts.note({ by, action: 'operator.use', target: by, tenant });
    this.#refuseKey(request, context);
    const headers = await this.#limits.take(caller);
    context.switchToHttp().getResponse<FastifyReply>().headers(headers);
    callers.set(request, caller);
    return true;
  }

  #refuseKey({ headers }: FastifyRequest, context: ExecutionContext): void {
    if (headers['idempotency-key'] === undefined) return;
    if (this.#reflector.get<boolean | undefined>(REFUSES_KEY, context.getHandler()) !== true) return;
    throw new CodedError('request_invalid', 'This address takes no Idempotency-Key: it makes something new each time.');
  }

  /**
   * Whoever sends the request. Throws CodedError `unauthenticated`, and what `#signedIn` and `#byToken`
   * throw.
   */
  async #callerOf(request: FastifyRequest, context: ExecutionContext): Promise<ApiCaller> {
    const { authorization, cookie } = request.headers;
    const within = holderWithin();
    if (within !== undefined && authorization === undefined) return standing(await within());
    const takesTokens = this.#reflector.get<boolean | undefined>(TAKES_TOKENS, context.getHandler()) === true;
    const accessTokens = takesTokens ? this.#tokens : undefined;
    const [, accessToken] = /^Bearer (?!cs[kp]_)([\x21-\x7e]{1,16384})$/i.exec(authorization ?? '') ?? [];
    if (accessToken !== undefined && accessTokens !== undefined)
      return this.#byToken(accessTokens, accessToken, request);
    const [, text] = /^(?:Bearer|Token) ([\x21-\x7e]{1,200})$/i.exec(authorization ?? '') ?? [];
    const token = authorization === undefined ? tokenIn(cookie) : undefined;
    const isPayable = this.#reflector.get<boolean | undefined>(PAYABLE, context.getHandler()) === true;
    const caller =
      text !== undefined
        ? text.startsWith('csp_')
          ? await this.#payer(text, request)
          : await this.#keys.authenticate(text)
        : token !== undefined
          ? await this.#signedIn(token, request)
          : isPayable && authorization === undefined
            ? await this.#gate.visitor()
            : undefined;
    if (caller !== undefined) return caller;
    if (text !== undefined)
      this.#attempts.note({ by: 'nobody', action: 'refused', target: nameOf(request), tenant: null });
    throw new CodedError(
      'unauthenticated',
      text !== undefined
        ? 'This API key is not valid, or was revoked.'
        : token !== undefined
          ? 'This session has ended, or its API key was revoked; sign in again.'
          : 'Send your API key as "Authorization: Bearer csk_…".',
      {
        headers: accessTokens?.challenge(text === undefined ? undefined : 'invalid_token') ?? {
          'www-authenticate': 'Bearer realm="countersign"',
        },
      },
    );
  }

  /** The holder of an access token, with no more than the key that it acts with. */
  async #byToken(accessTokens: AccessTokens, text: string, request: FastifyRequest): Promise<ApiCaller> {
    try {
      const { keyId, owner } = await accessTokens.verify(text);
      const holder = async () => {
        const caller = await this.#keys.holder(keyId);
        return caller && asTokenHolder(caller);
      };
      const caller = standing(await holder());
      tokens.set(request, { owner, holder });
      return caller;
    } catch (error) {
      const isRefused = error instanceof CodedError && error.code !== 'issuer_away';
      if (isRefused) this.#attempts.note({ by: 'nobody', action: 'refused', target: nameOf(request), tenant: null });
      throw error;
    }
  }

  /**
   * The holder of a session; undefined where it has ended. A browser sends the cookie whoever asks for it, so
   * that a request that changes something must prove that the dashboard has sent it. Throws CodedErrors
   * `session_unproven` and `session_reads_only`.
   */
  async #signedIn(token: string, request: FastifyRequest): Promise<ApiCaller | undefined> {
    const from = request.headers['sec-fetch-site'];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const isOwn = from === undefined || from === 'same-origin' || (from === 'none' && isRead);
    const target = nameOf(request);
    if (!isOwn || (!isRead && !isProof(token, request.headers[PROOF_HEADER]))) {
      this.#attempts.note({ by: 'nobody', action: 'refused', target, tenant: null });
      throw new CodedError(
        'session_unproven',
        `Only the dashboard may use its session. A program sends its API key as "Authorization: Bearer csk_…".`,
      );
    }
    const session = await this.#sessions.find(token);
    if (session === undefined) return undefined;
    // By the route that was found: one route has many spellings.
    const route = request.routeOptions.url ?? '';
    const acts = isRead ? SECRET.test(route) : !MAY_SEND.has(`${request.method} ${route}`);
    if (session.isReadOnly && acts) {
      const { keyId: by, tenant } = session.caller;
      this.#attempts.note({ by, action: 'refused', target, tenant });
      throw new CodedError('session_reads_only', 'You signed in to look only; sign in again to act.');
    }
    sessions.set(request, { token, isReadOnly: session.isReadOnly });
    return session.caller;
  }

  /** A payer's token is valid for one job; at every other address it is not a token. */
  async #payer(text: string, request: FastifyRequest): Promise<ApiCaller | undefined> {
    const holder = await this.#gate.holder(text);
    return holder?.job === (request.params as Record<string, string | undefined>)['id'] ? holder?.caller : undefined;
  }
}

/** The holder of a token, whose key is valid. Throws CodedError `token_refused`. */
function standing(caller: ApiCaller | undefined): ApiCaller {
  if (caller === undefined)
    throw new CodedError('token_refused', 'The API key that this access token acts with is not valid, or was revoked.');
  return caller;
}

import { Injectable, SetMetadata, createParamDecorator, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Attempts } from '../../core/audit/attempts.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Caller as ApiCaller, Scope } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { RateLimits } from '../../surfaces/tenants/rate-limits.ts';

const SCOPE = 'countersign:scope';

/**
 * The scope that a route requires. A route without one refuses every caller, so that a forgotten scope opens
 * nothing.
 */
export const Needs = (scope: Scope | 'nobody') => SetMetadata(SCOPE, scope);

const PAYABLE = 'countersign:payable';

/** A caller without a key may pay for this request, where the operator sells by the request. */
export const Payable = () => SetMetadata(PAYABLE, true);

const REFUSES_KEY = 'countersign:refuses-idempotency-key';

/** This route makes something new each time: it refuses a key rather than leave it unheard. */
export const RefusesIdempotencyKey = () => SetMetadata(REFUSES_KEY, true);

/** Open to everyone: health, public keys, documentation. */
export const Open = () => Needs('nobody');

const callers = new WeakMap<FastifyRequest, ApiCaller>();

/** The caller whom the guard has let in; undefined where the route is open. */
export const callerOf = (request: FastifyRequest): ApiCaller | undefined => callers.get(request);

export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): ApiCaller => {
  const caller = callers.get(context.switchToHttp().getRequest<FastifyRequest>());
  if (caller === undefined) throw new CodedError('unauthenticated', 'This address requires an API key.');
  return caller;
});

/** The route that was asked for, in words for the audit log. */
const nameOf = ({ method, routeOptions: { url } }: FastifyRequest) => `${method} ${url ?? ''}`;

/** Authenticates the caller, and checks the scope of the key. */
@Injectable()
export class CallerGuard implements CanActivate {
  readonly #reflector: Reflector;
  readonly #keys: ApiKeys;
  readonly #limits: RateLimits;
  readonly #gate: PaymentGate;
  readonly #attempts: Attempts;

  constructor(reflector: Reflector, keys: ApiKeys, limits: RateLimits, gate: PaymentGate, attempts: Attempts) {
    this.#attempts = attempts;
    this.#reflector = reflector;
    this.#keys = keys;
    this.#limits = limits;
    this.#gate = gate;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const scope = this.#reflector.get<Scope | 'nobody' | undefined>(SCOPE, context.getHandler());
    if (scope === 'nobody') return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const [, text] = /^Bearer ([\x21-\x7e]{1,200})$/i.exec(request.headers.authorization ?? '') ?? [];
    const isPayable = this.#reflector.get<boolean | undefined>(PAYABLE, context.getHandler()) === true;
    const caller =
      text !== undefined
        ? text.startsWith('csp_')
          ? await this.#payer(text, request)
          : await this.#keys.authenticate(text)
        : isPayable && request.headers.authorization === undefined
          ? await this.#gate.visitor()
          : undefined;
    if (caller === undefined) {
      if (text !== undefined)
        this.#attempts.note({ by: 'nobody', action: 'refused', target: nameOf(request), tenant: null });
      throw new CodedError(
        'unauthenticated',
        text === undefined
          ? 'Send your API key as "Authorization: Bearer csk_…".'
          : 'This API key is not valid, or was revoked.',
        {
          headers: { 'www-authenticate': 'Bearer realm="countersign"' },
        },
      );
    }
    const { tenant, keyId: by } = caller;
    if (scope === undefined || !caller.scopes.has(scope)) {
      this.#attempts.note({ by, action: 'refused', target: nameOf(request), tenant });
      throw new CodedError('scope_missing', `This API key lacks the required scope "${scope ?? 'none'}".`);
    }
    if (scope === 'operator') this.#attempts.note({ by, action: 'operator.use', target: by, tenant });
    if (
      request.headers['idempotency-key'] !== undefined &&
      this.#reflector.get<boolean | undefined>(REFUSES_KEY, context.getHandler()) === true
    )
      throw new CodedError(
        'request_invalid',
        'This address takes no Idempotency-Key: it makes something new each time.',
      );
    const headers = await this.#limits.take(caller);
    context.switchToHttp().getResponse<FastifyReply>().headers(headers);
    callers.set(request, caller);
    return true;
  }

  /** A payer's token is valid for one job; at every other address it is not a token. */
  async #payer(text: string, request: FastifyRequest): Promise<ApiCaller | undefined> {
    const holder = await this.#gate.holder(text);
    return holder?.job === (request.params as Record<string, string | undefined>)['id'] ? holder?.caller : undefined;
  }
}

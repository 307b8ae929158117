import { Body, Controller, Delete, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Attempts } from '../../core/audit/attempts.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { cookieOf, proofOf } from '../../surfaces/dashboard/session.ts';
import { LINK_LIFE_MS, Sessions, type Session } from '../../surfaces/dashboard/session.store.ts';
import { SCOPES, type Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { RateLimits } from '../../surfaces/tenants/rate-limits.ts';
import { Caller, Needs, Open, RefusesIdempotencyKey, sessionOf } from './caller.guard.ts';
import { DashboardFiles } from './dashboard-files.ts';
import { sendDashboardFile } from './dashboard-page.ts';
import { parse } from './parse.ts';
import { BeginSession, MakeLink, type LoginLink, type SessionDocument, type SessionEnd } from './session.schemas.ts';

const FOREVER = 'public, max-age=31536000, immutable';

/** Who is signed in to the dashboard, and the files that it is made of. */
@Controller()
export class SessionController {
  readonly #sessions: Sessions;
  readonly #keys: ApiKeys;
  readonly #limits: RateLimits;
  readonly #attempts: Attempts;
  readonly #files: DashboardFiles;
  readonly #memory: MemoryClient;

  constructor(
    sessions: Sessions,
    keys: ApiKeys,
    limits: RateLimits,
    attempts: Attempts,
    files: DashboardFiles,
    memory: MemoryClient,
  ) {
    this.#memory = memory;
    this.#sessions = sessions;
    this.#keys = keys;
    this.#limits = limits;
    this.#attempts = attempts;
    this.#files = files;
  }

  @Post('/v1/session')
  @HttpCode(200)
  @Open()
  @RefusesIdempotencyKey()
  async begin(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SessionDocument> {
    const asked = parse(BeginSession, body);
    const from = request.headers['sec-fetch-site'];
    if (from !== undefined && from !== 'same-origin' && from !== 'none')
      throw new CodedError('session_unproven', 'Another site cannot sign anybody in; open the dashboard itself.');
    await this.#limits.takeLogin(request.ip);
    const { caller, isReadOnly } = 'key' in asked ? await this.#byKey(asked) : await this.#byLink(asked);
    if (!caller.scopes.has('read'))
      throw new CodedError('scope_missing', 'This API key lacks the scope "read", which the dashboard needs.');
    const token = await this.#sessions.begin(caller, isReadOnly);
    reply.header('set-cookie', cookieOf(token, isSecure(request)));
    return this.#document({ caller, isReadOnly }, token);
  }

  @Get('/v1/session')
  @Needs('read')
  session(@Caller() caller: ApiCaller, @Req() request: FastifyRequest): SessionDocument {
    const { token, isReadOnly } = requireSession(request);
    return this.#document({ caller, isReadOnly }, token);
  }

  @Delete('/v1/session')
  @Needs('read')
  async end(
    @Caller() caller: ApiCaller,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SessionEnd> {
    await this.#sessions.end(requireSession(request).token, caller);
    reply.header('set-cookie', cookieOf(undefined, isSecure(request)));
    return { ended: true };
  }

  @Post('/v1/session/links')
  @HttpCode(200)
  @Needs('read')
  @RefusesIdempotencyKey()
  async link(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<LoginLink> {
    const { read_only } = parse(MakeLink, body === undefined ? {} : body);
    const token = await this.#sessions.link(caller, read_only);
    return { path: `/#/login/${token}`, expires_at: new Date(Date.now() + LINK_LIFE_MS).toISOString() };
  }

  @Get('/dashboard/:file')
  @Open()
  async file(@Param('file') name: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const file = this.#files.get(name);
    await sendDashboardFile(file, request, reply.header('cache-control', FOREVER));
  }

  #document({ caller, isReadOnly }: Session, token: string): SessionDocument {
    const { tenant, keyId: key, scopes } = caller;
    return {
      tenant,
      key,
      scopes: SCOPES.filter((scope) => scopes.has(scope)),
      read_only: isReadOnly,
      memory: this.#memory.isThere,
      proof: proofOf(token),
    };
  }

  async #byKey({ key, read_only }: { key: string; read_only: boolean }): Promise<Session> {
    const caller = await this.#keys.authenticate(key.trim());
    if (caller !== undefined) return { caller, isReadOnly: read_only };
    this.#attempts.note({ by: 'nobody', action: 'session.refused', target: 'POST /v1/session', tenant: null });
    throw new CodedError('unauthenticated', 'This API key is not valid, or was revoked.');
  }

  async #byLink({ link, read_only }: { link: string; read_only: boolean }): Promise<Session> {
    const session = await this.#sessions.takeLink(link);
    if (session !== undefined) return { ...session, isReadOnly: session.isReadOnly || read_only };
    throw new CodedError('link_over', 'This link was used already, or is older than 15 minutes.', {
      hint: 'sign in with an API key, or ask for another link',
    });
  }
}

/** The session of a request. Throws CodedError `unauthenticated` where an API key was sent instead. */
function requireSession(request: FastifyRequest) {
  const session = sessionOf(request);
  if (session === undefined)
    throw new CodedError('unauthenticated', 'An API key has no session; this address is for the dashboard.');
  return session;
}

/** Behind a proxy that ends TLS, the connection itself does not tell. */
function isSecure({ protocol, headers }: FastifyRequest): boolean {
  return protocol === 'https' || headers['x-forwarded-proto'] === 'https';
}

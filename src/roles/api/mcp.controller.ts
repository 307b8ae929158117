import { Readable } from 'node:stream';
import { Body, Controller, Get, Headers, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { signalOf } from '../../surfaces/http/hang-up.ts';
import { ProtectedResource } from '../../surfaces/mcp/protected-resource.ts';
import type { ResourceMetadata } from '../../surfaces/mcp/token-terms.ts';
import { memoryWish } from '../../surfaces/memory/memory-wish.ts';
import { Needs, Open, RefusesIdempotencyKey, TakesTokens, tokenOf } from './caller.guard.ts';
import { Mcp } from './mcp.ts';
import { ownOrigin } from './own-origin.ts';

/** What clients of the Model Context Protocol call. */
@Controller()
export class McpController {
  readonly #mcp: Mcp;
  readonly #resource: ProtectedResource;

  constructor(mcp: Mcp, resource: ProtectedResource) {
    this.#mcp = mcp;
    this.#resource = resource;
  }

  @Get('/.well-known/oauth-protected-resource')
  @Open()
  resource(): ResourceMetadata {
    const { metadata } = this.#resource;
    if (metadata === undefined)
      throw new CodedError('route_not_found', 'This service takes no access tokens; send an API key.');
    return metadata;
  }

  /** Where clients look first: the path of what they called stands behind it. */
  @Get('/.well-known/oauth-protected-resource/mcp')
  @Open()
  resourceOfMcp(): ResourceMetadata {
    return this.resource();
  }

  @Post('/mcp')
  @Needs('read')
  @RefusesIdempotencyKey()
  @TakesTokens()
  async serve(
    @Body() body: unknown,
    @Headers() headers: Record<string, string | undefined>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const token = tokenOf(request);
    const by = token?.holder ?? headers['authorization'];
    if (by === undefined) throw new CodedError('unauthenticated', 'This address takes an API key and no session.');
    // Each call of a batch would be a request that no limit has counted beforehand.
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new CodedError('request_invalid', 'Send one JSON-RPC message; batches are not taken.');
    const asked = new Request(`${ownOrigin(request.protocol, request.host)}/mcp`, {
      method: 'POST',
      headers: forProtocol(headers),
      signal: signalOf(reply),
    });
    const wished = memoryWish(undefined, headers['countersign-memory'])?.owner;
    if (token?.owner !== undefined && wished !== undefined && wished !== token.owner)
      throw new CodedError('token_refused', 'This access token is for the memories of another owner.');
    const answer = await this.#mcp.answer(asked, body, { by, owner: token?.owner ?? wished });
    await reply
      .status(answer.status)
      .headers(Object.fromEntries(answer.headers))
      .send(answer.body === null ? undefined : Readable.from(answer.body));
  }
}

/** What the protocol reads of the headers. */
function forProtocol(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]): [string, string][] =>
      value !== undefined && /^(accept|content-type|mcp-[a-z-]+)$/.test(name) ? [[name, value]] : [],
    ),
  );
}

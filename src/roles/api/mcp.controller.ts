import { Readable } from 'node:stream';
import { Body, Controller, Headers, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { signalOf } from '../../surfaces/http/hang-up.ts';
import { memoryWish } from '../../surfaces/memory/memory-wish.ts';
import { Needs, RefusesIdempotencyKey } from './caller.guard.ts';
import { Mcp } from './mcp.ts';

/** What clients of the Model Context Protocol call. */
@Controller('/mcp')
export class McpController {
  readonly #mcp: Mcp;

  constructor(mcp: Mcp) {
    this.#mcp = mcp;
  }

  @Post()
  @Needs('read')
  @RefusesIdempotencyKey()
  async serve(
    @Body() body: unknown,
    @Headers() headers: Record<string, string | undefined>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { authorization } = headers;
    if (authorization === undefined)
      throw new CodedError('unauthenticated', 'This address takes an API key and no session.');
    // Each call of a batch would be a request that no limit has counted beforehand.
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new CodedError('request_invalid', 'Send one JSON-RPC message; batches are not taken.');
    const asked = new Request(`${request.protocol}://${request.host}/mcp`, {
      method: 'POST',
      headers: forProtocol(headers),
      signal: signalOf(reply),
    });
    const owner = memoryWish(undefined, headers['countersign-memory'])?.owner;
    const answer = await this.#mcp.answer(asked, body, { authorization, owner });
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

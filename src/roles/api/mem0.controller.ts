import { Body, Controller, Delete, Get, HttpCode, Post, Put, Req } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { answerMem0 } from '../../surfaces/mem0/mem0-routes.ts';
import { Needs, RefusesIdempotencyKey } from './caller.guard.ts';
import { OwnApi } from './own-api.ts';

/** What clients of Mem0 call that have `/mem0` of this API as their base. */
@Controller('/mem0')
export class Mem0Controller {
  readonly #host: HttpAdapterHost<FastifyAdapter>;

  constructor(host: HttpAdapterHost<FastifyAdapter>) {
    this.#host = host;
  }

  @Get('*')
  @Needs('read')
  get(@Req() request: FastifyRequest): Promise<unknown> {
    return this.#answer(request, undefined);
  }

  @Post('*')
  @HttpCode(200)
  @Needs('read')
  @RefusesIdempotencyKey()
  post(@Req() request: FastifyRequest, @Body() body: unknown): Promise<unknown> {
    return this.#answer(request, body);
  }

  @Put('*')
  @Needs('read')
  put(@Req() request: FastifyRequest, @Body() body: unknown): Promise<unknown> {
    return this.#answer(request, body);
  }

  @Delete('*')
  @Needs('read')
  delete(@Req() request: FastifyRequest, @Body() body: unknown): Promise<unknown> {
    return this.#answer(request, body);
  }

  #answer({ method, url, headers }: FastifyRequest, body: unknown): Promise<unknown> {
    const { authorization } = headers;
    if (authorization === undefined)
      throw new CodedError('unauthenticated', 'This address takes an API key and no session.');
    const [path = '', query = ''] = url.split('?', 2);
    const parts = path.replace(/^\/mem0\/|\/$/g, '').split('/');
    const api = new OwnApi(this.#host.httpAdapter.getInstance(), authorization);
    return answerMem0({ method, parts: parts.map(decoded), query: new URLSearchParams(query), body }, api);
  }
}

/** The router has refused what cannot be decoded. */
const decoded = (part: string) => decodeURIComponent(part);

import { Body, Controller, Delete, Get, Headers, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { parseRequest } from '../../surfaces/openai/parse-request.ts';
import { ResponseRequest } from '../../surfaces/openai/response-request.ts';
import { responseId, type DeletedResponse, type ResponseDocument } from '../../surfaces/openai/response-document.ts';
import { Responses } from '../../surfaces/openai/responses.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import type { Whose } from '../../core/jobs/whose.ts';
import { OwnAnswers } from './own-answers.ts';
import { Erasures } from '../../surfaces/erasure/erasures.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { memoryWish } from '../../surfaces/memory/memory-wish.ts';
import { Caller, Needs } from './caller.guard.ts';
import { EventStreams } from './event-streams.ts';
import { signalOf } from '../../surfaces/http/hang-up.ts';
import { askedOnce, parseIdempotencyKey } from './parse.ts';
import { GetResponse } from './responses.schemas.ts';

/** The Responses API. */
@Controller('/v1/responses')
export class ResponsesController {
  readonly #responses: Responses;
  readonly #jobs: Jobs;
  readonly #streams: EventStreams;
  readonly #erasures: Erasures;
  readonly #own: OwnAnswers;

  constructor(responses: Responses, jobs: Jobs, streams: EventStreams, erasures: Erasures, own: OwnAnswers) {
    this.#own = own;
    this.#responses = responses;
    this.#jobs = jobs;
    this.#streams = streams;
    this.#erasures = erasures;
  }

  @Post()
  @HttpCode(200)
  @Needs('submit')
  async create(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers() { 'idempotency-key': idempotencyKey, 'countersign-memory': named }: Record<string, string | undefined>,
    @Res() reply: FastifyReply,
  ) {
    const read = parseRequest(ResponseRequest, body);
    const memory = memoryWish(read.memory, named);
    const request = { ...read, memory };
    const isStreamed = request.stream === true;
    const key = parseIdempotencyKey(idempotencyKey);
    const isInBackground = request.background === true;
    const isKept = isInBackground || key !== undefined;
    if (isStreamed) this.#streams.requireRoom(caller.keyId);
    const hungUp = signalOf(reply);
    const whose = readableBy(caller);
    const job = await this.#responses.create(
      caller,
      whose,
      request,
      askedOnce(key, '/v1/responses', memory === undefined ? body : { body, memory }),
    );
    if (key !== undefined) await this.#own.require(caller, [{ id: job, fresh: undefined }]);
    const { tenant, keyId } = caller;
    const id = responseId(job);
    const headers = { 'countersign-job': job, 'x-request-id': job };
    if (isStreamed) {
      await this.#streams.serve(reply, keyId, (signal) => this.#frames(whose, id, -1, signal, isKept), headers);
      return;
    }
    const cancel = () => void this.#jobs.cancel(tenant, job).catch(() => undefined);
    if (!isKept) {
      if (hungUp.aborted) cancel();
      hungUp.addEventListener('abort', cancel, { once: true });
    }
    const response = isInBackground
      ? await this.#responses.get(tenant, id)
      : await this.#responses.wait(tenant, job, hungUp);
    await reply.status(200).headers(headers).type('application/json; charset=utf-8').send(JSON.stringify(response));
  }

  @Get(':response')
  @Needs('read')
  async get(
    @Caller() caller: ApiCaller,
    @Param('response') id: string,
    @Query() query: unknown,
    @Res() reply: FastifyReply,
  ) {
    const whose = readableBy(caller);
    const response = await this.#responses.get(whose, id);
    const { stream, starting_after } = parseRequest(GetResponse, query);
    if (stream === 'true') {
      this.#streams.requireRoom(caller.keyId);
      await this.#streams.serve(reply, caller.keyId, (signal) =>
        this.#frames(whose, id, starting_after ?? -1, signal, true),
      );
      return;
    }
    await reply.status(200).type('application/json; charset=utf-8').send(JSON.stringify(response));
  }

  @Post(':response/cancel')
  @HttpCode(200)
  @Needs('submit')
  cancel(@Caller() caller: ApiCaller, @Param('response') id: string): Promise<ResponseDocument> {
    return this.#responses.cancel(changeableBy(caller), id);
  }

  @Delete(':response')
  @Needs('submit')
  async erase(@Caller() caller: ApiCaller, @Param('response') id: string): Promise<DeletedResponse> {
    const { id: job } = await this.#responses.erasable(changeableBy(caller), id);
    await this.#erasures.erase(caller, job);
    return { id, object: 'response', deleted: true };
  }

  async *#frames(
    whose: Whose,
    id: string,
    startingAfter: number,
    signal: AbortSignal,
    isKept: boolean,
  ): AsyncGenerator<string> {
    try {
      for await (const frame of this.#responses.stream(whose, id, startingAfter, signal)) if (frame !== '') yield frame;
    } finally {
      if (!isKept) await this.#jobs.cancel(whose, id.replace(/^resp_/, 'job_')).catch(() => undefined);
    }
  }
}

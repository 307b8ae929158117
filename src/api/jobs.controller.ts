import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isFinal } from '../jobs/job-state.ts';
import type { Caller as ApiCaller } from '../tenants/api-key.ts';
import { Admission } from './admission.ts';
import { Caller, Needs } from './caller.guard.ts';
import { EventStreams } from './event-streams.ts';
import { jobDocument } from './job-document.ts';
import { parseEventId } from './job-events.ts';
import { Jobs } from './jobs.ts';
import { parse, parseIdempotencyKey, parsePreferWait } from './parse.ts';
import { ListJobs, SubmitJob } from './submit-job.ts';

/** How long a cancel request waits for the worker to stop before it answers. */
const CANCEL_WAIT_MS = 3_000;

@Controller('/v1/jobs')
export class JobsController {
  readonly #admission: Admission;
  readonly #jobs: Jobs;
  readonly #streams: EventStreams;

  constructor(admission: Admission, jobs: Jobs, streams: EventStreams) {
    this.#admission = admission;
    this.#jobs = jobs;
    this.#streams = streams;
  }

  @Post()
  @HttpCode(202)
  @Needs('submit')
  async submit(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
    @Headers('prefer') prefer: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const wait = parsePreferWait(prefer);
    const { id, fresh } = await this.#admission.submit(
      caller.tenant,
      parse(SubmitJob, body),
      parseIdempotencyKey(idempotencyKey),
    );
    reply.header('location', `/v1/jobs/${id}`);
    if (wait === undefined) return jobDocument(fresh ?? (await this.#jobs.get(caller.tenant, id)));
    reply.header('preference-applied', `wait=${wait}`);
    const view = await this.#jobs.wait(caller.tenant, id, wait * 1_000, signalOf(request));
    if (isFinal(view.state)) reply.status(200);
    return jobDocument(view);
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown) {
    const { jobs, next } = await this.#jobs.list(caller.tenant, parse(ListJobs, query));
    return { jobs: jobs.map(jobDocument), next_cursor: next ?? null };
  }

  @Get(':id')
  @Needs('read')
  async get(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Headers('prefer') prefer: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const wait = parsePreferWait(prefer);
    if (wait === undefined) return jobDocument(await this.#jobs.get(caller.tenant, id));
    const view = await this.#jobs.wait(caller.tenant, id, wait * 1_000, signalOf(request));
    reply.header('preference-applied', `wait=${wait}`);
    return jobDocument(view);
  }

  @Post(':id/cancel')
  @HttpCode(202)
  @Needs('submit')
  async cancel(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const asked = await this.#jobs.cancel(caller.tenant, id);
    const view = await this.#jobs.wait(caller.tenant, id, CANCEL_WAIT_MS, signalOf(request));
    const final = isFinal(view.state);
    if (final) reply.status(200);
    const outcome =
      asked === 'final'
        ? 'already_final'
        : !final
          ? 'stopping'
          : view.state === 'cancelled'
            ? 'cancelled'
            : 'ended_first';
    return { outcome, job: jobDocument(view) };
  }

  @Get(':id/output')
  @Needs('read')
  async output(@Caller() caller: ApiCaller, @Param('id') id: string, @Res({ passthrough: true }) reply: FastifyReply) {
    const { bytes, sha256 } = await this.#jobs.output(caller.tenant, id);
    reply.headers({
      'content-type': 'application/json; charset=utf-8',
      etag: `"sha256-${sha256}"`,
      'cache-control': 'private, immutable',
    });
    return bytes;
  }

  @Get(':id/receipt')
  @Needs('read')
  async receipt(@Caller() caller: ApiCaller, @Param('id') id: string, @Res({ passthrough: true }) reply: FastifyReply) {
    const text = await this.#jobs.receipt(caller.tenant, id);
    reply.headers({
      'content-type': 'application/json; charset=utf-8',
      'content-disposition': `attachment; filename="${id}.receipt.json"`,
      'cache-control': 'private, immutable',
    });
    return Buffer.from(text);
  }

  @Get(':id/events')
  @Needs('read')
  async events(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Res() reply: FastifyReply,
  ) {
    await this.#jobs.get(caller.tenant, id);
    this.#streams.requireRoom(caller.keyId);
    reply.hijack();
    reply.raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
    reply.raw.flushHeaders();
    await this.#streams
      .serve(reply.raw, caller, id, lastEventId === undefined ? undefined : parseEventId(lastEventId))
      .catch(() => reply.raw.destroy());
  }
}

/** Aborted when the caller hangs up. */
function signalOf(request: FastifyRequest): AbortSignal {
  const controller = new AbortController();
  request.raw.once('close', () => {
    if (request.raw.destroyed && !request.raw.complete) controller.abort();
  });
  request.raw.socket.once('close', () => controller.abort());
  return controller.signal;
}

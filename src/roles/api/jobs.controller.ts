import { Body, Controller, Delete, Get, Headers, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { Admission } from '../../surfaces/admission/admission.ts';
import type { CancelAnswer, JobDocument } from '../../proof/contract/job-document.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { Erasures } from '../../surfaces/erasure/erasures.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { PaymentRecords, paymentResponse } from '../../surfaces/payments/payment.store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { Caller, Needs, Payable } from './caller.guard.ts';
import { paymentDocument, type PaymentDocument } from './payment-document.ts';
import { EventStreams } from './event-streams.ts';
import { jobDocument } from './job-document.ts';
import { formatEvent, isAfter, parseEventId, stateEvents, type EventId } from '../../core/jobs/job-events.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { followJob } from '../../core/jobs/job-follow.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import type { Whose } from '../../core/jobs/whose.ts';
import { OwnAnswers } from './own-answers.ts';
import { signalOf } from './hang-up.ts';
import { askedOnce, parse, parseIdempotencyKey, parsePreferWait } from './parse.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { ListJobs, type JobList } from './jobs.schemas.ts';

/** How long a cancel request waits for the worker to stop before it answers. */
const CANCEL_WAIT_MS = 3_000;

/** It never changes, but it can be erased: who keeps it asks first. */
const CACHED = 'private, no-cache';

@Controller('/v1/jobs')
export class JobsController {
  readonly #admission: Admission;
  readonly #jobs: Jobs;
  readonly #streams: EventStreams;
  readonly #wake: Wake;
  readonly #gate: PaymentGate;
  readonly #payments: PaymentRecords;
  readonly #erasures: Erasures;
  readonly #own: OwnAnswers;

  constructor(
    admission: Admission,
    jobs: Jobs,
    streams: EventStreams,
    wake: Wake,
    gate: PaymentGate,
    payments: PaymentRecords,
    erasures: Erasures,
    own: OwnAnswers,
  ) {
    this.#admission = admission;
    this.#jobs = jobs;
    this.#streams = streams;
    this.#wake = wake;
    this.#gate = gate;
    this.#payments = payments;
    this.#erasures = erasures;
    this.#own = own;
  }

  @Post()
  @HttpCode(202)
  @Needs('submit')
  @Payable()
  async submit(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
    @Headers('prefer') prefer: string | undefined,
    @Headers('payment-signature') payment: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<JobDocument> {
    const wait = parsePreferWait(prefer);
    const key = parseIdempotencyKey(idempotencyKey);
    const asked = parse(SubmitJob, body);
    const paid = await this.#gate.require(caller, [asked], {
      payment,
      idempotencyKey: key,
      request: askedOnce(key, '/v1/jobs', body).request,
      path: '/v1/jobs',
    });
    const submitter = paid?.submitter ?? caller;
    const admitted = await this.#admission.submit(
      submitter,
      paid?.job ?? asked,
      paid?.options ?? { idempotencyKey: key },
    );
    const { id, fresh } = admitted;
    if (paid !== undefined) reply.headers(await this.#gate.headersOf(paid, admitted));
    else await this.#own.require(caller, [admitted]);
    reply.header('location', `/v1/jobs/${id}`);
    if (wait === undefined) return jobDocument(fresh ?? (await this.#jobs.get(submitter.tenant, id)));
    reply.header('preference-applied', `wait=${wait}`);
    const view = await this.#jobs.wait(submitter.tenant, id, wait * 1_000, signalOf(reply));
    if (isFinal(view.state)) reply.status(200);
    return jobDocument(view);
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<JobList> {
    const { jobs, next } = await this.#jobs.list(readableBy(caller), parse(ListJobs, query));
    return { jobs: jobs.map(jobDocument), next_cursor: next ?? null };
  }

  @Get(':id')
  @Needs('read')
  async get(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Headers('prefer') prefer: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<JobDocument> {
    const wait = parsePreferWait(prefer);
    if (wait === undefined) return jobDocument(await this.#jobs.get(readableBy(caller), id));
    const view = await this.#jobs.wait(readableBy(caller), id, wait * 1_000, signalOf(reply));
    reply.header('preference-applied', `wait=${wait}`);
    return jobDocument(view);
  }

  @Post(':id/cancel')
  @HttpCode(202)
  @Needs('submit')
  async cancel(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<CancelAnswer> {
    const asked = await this.#jobs.cancel(changeableBy(caller), id);
    const view = await this.#jobs.wait(caller.tenant, id, CANCEL_WAIT_MS, signalOf(reply));
    const final = isFinal(view.state);
    if (asked === 'logged' && !final)
      throw new CodedError(
        'confirmed_not_published',
        'The answer is confirmed and stands in the log, whose checkpoint is not published yet: the job will be done.',
      );
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

  @Delete(':id')
  @Needs('submit')
  async erase(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<JobDocument> {
    return jobDocument(await this.#erasures.erase(caller, id));
  }

  @Get(':id/output')
  @Needs('read')
  async output(@Caller() caller: ApiCaller, @Param('id') id: string, @Res({ passthrough: true }) reply: FastifyReply) {
    const { bytes, sha256 } = await this.#jobs.output(readableBy(caller), id);
    reply.headers({
      'content-type': 'application/json; charset=utf-8',
      etag: `"sha256-${sha256}"`,
      'cache-control': CACHED,
    });
    return bytes;
  }

  @Get(':id/receipt')
  @Needs('read')
  async receipt(@Caller() caller: ApiCaller, @Param('id') id: string, @Res({ passthrough: true }) reply: FastifyReply) {
    const text = await this.#jobs.receipt(readableBy(caller), id);
    reply.headers({
      'content-type': 'application/json; charset=utf-8',
      'content-disposition': `attachment; filename="${id}.receipt.json"`,
      'cache-control': CACHED,
    });
    return Buffer.from(text);
  }

  @Get(':id/payment')
  @Needs('read')
  async payment(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<PaymentDocument> {
    await this.#jobs.get(readableBy(caller), id);
    const record = await this.#payments.read(id);
    if (record === undefined)
      throw new CodedError('payment_not_found', 'This job was not paid for with a payment of its own.');
    if (record.state !== 'held' && record.state !== 'due') reply.header('payment-response', paymentResponse(record));
    return paymentDocument(id, record);
  }

  @Get(':id/events')
  @Needs('read')
  async events(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Res() reply: FastifyReply,
  ) {
    const whose = readableBy(caller);
    const view = await this.#jobs.get(whose, id);
    const since = lastEventId === undefined ? undefined : parseEventId(lastEventId);
    if (since !== undefined && isOver(view, since)) {
      // By this answer an EventSource knows that it need not come back.
      await reply.status(204).send();
      return;
    }
    this.#streams.requireRoom(caller.keyId);
    await this.#streams.serve(reply, caller.keyId, (signal) => this.#frames({ whose, id, since }, signal));
  }

  async *#frames(job: { whose: Whose; id: string; since: EventId | undefined }, signal: AbortSignal) {
    yield 'retry: 2000\n\n';
    for await (const { event } of followJob(this.#jobs, this.#wake, job, signal)) yield formatEvent(event);
  }
}

/** Whether nothing can follow the event that a caller has seen. */
function isOver(view: JobView, since: EventId): boolean {
  const last = stateEvents(view).at(-1);
  return isFinal(view.state) && last !== undefined && !isAfter(last.id, since);
}

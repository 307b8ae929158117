import { Body, Controller, Delete, Get, Headers, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { Admission, type Admitted } from '../../surfaces/admission/admission.ts';
import { Retries } from '../../surfaces/admission/retries.ts';
import { Prospects, hasMoved, type Foreseen } from '../../core/forecast/prospects.ts';
import { endAt } from '../../core/forecast/told.ts';
import { whyOf } from '../../core/forecast/why.ts';
import type { Why } from '../../proof/contract/why.ts';
import type { CancelAnswer, JobDocument, RetryAnswer } from '../../proof/contract/job-document.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { Erasures } from '../../surfaces/erasure/erasures.ts';
import { JobSearch, type FoundJobs } from '../../surfaces/history/job-search.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { PaymentRecords, paymentResponse } from '../../surfaces/payments/payment.store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { Caller, Needs, Payable } from './caller.guard.ts';
import { paymentDocument, type PaymentDocument } from './payment-document.ts';
import { Directory } from './directory.ts';
import { EventStreams } from './event-streams.ts';
import { foreseenDocument, jobDocument, pastDocument } from './job-document.ts';
import { formatEvent, isAfter, parseEventId, stateEvents, type EventId } from '../../core/jobs/job-events.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { lookAtJob } from '../../core/jobs/job-follow.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import type { Whose } from '../../core/jobs/whose.ts';
import { OwnAnswers } from './own-answers.ts';
import { signalOf } from '../../surfaces/http/hang-up.ts';
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
  readonly #prospects: Prospects;
  readonly #directory: Directory;
  readonly #search: JobSearch;
  readonly #retries: Retries;

  constructor(
    admission: Admission,
    jobs: Jobs,
    streams: EventStreams,
    wake: Wake,
    gate: PaymentGate,
    payments: PaymentRecords,
    erasures: Erasures,
    own: OwnAnswers,
    prospects: Prospects,
    directory: Directory,
    search: JobSearch,
    retries: Retries,
  ) {
    this.#admission = admission;
    this.#jobs = jobs;
    this.#streams = streams;
    this.#wake = wake;
    this.#gate = gate;
    this.#payments = payments;
    this.#erasures = erasures;
    this.#own = own;
    this.#prospects = prospects;
    this.#directory = directory;
    this.#search = search;
    this.#retries = retries;
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
    const { id, fresh, outlook } = admitted;
    if (paid !== undefined) reply.headers(await this.#gate.headersOf(paid, admitted));
    else await this.#own.require(caller, [admitted]);
    reply.header('location', `/v1/jobs/${id}`);
    if (wait === undefined && fresh !== undefined)
      return fresh.notBeforeMs === undefined ? jobDocument(fresh, foreseenOf(fresh, outlook)) : this.#shown(fresh);
    if (wait === undefined) return this.#shown(await this.#jobs.get(submitter.tenant, id));
    reply.header('preference-applied', `wait=${wait}`);
    const view = await this.#jobs.wait(submitter.tenant, id, wait * 1_000, signalOf(reply));
    if (isFinal(view.state)) reply.status(200);
    return this.#shown(view);
  }

  /** The job as it is, or as the history keeps it where nothing else does. */
  async #current(whose: Whose, id: string): Promise<JobDocument> {
    try {
      return await this.#shown(await this.#jobs.get(whose, id));
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'job_not_found') throw error;
      const past = await this.#search.past(whose, id);
      if (past === undefined) throw error;
      return pastDocument(past);
    }
  }

  /** The job with what is foreseen of it. */
  async #shown(view: JobView): Promise<JobDocument> {
    return jobDocument(view, await this.#prospects.of(view));
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<JobList> {
    const { idempotency_key: quoted, history, ...asked } = parse(ListJobs, query);
    const idempotencyKey = parseIdempotencyKey(quoted);
    const whose = readableBy(caller);
    if (idempotencyKey !== undefined) return listOf(await this.#search.ofIdempotencyKey(whose, idempotencyKey));
    const { worker, key, reason, ...kept } = asked;
    if (history === 'true' || worker !== undefined || key !== undefined || reason !== undefined)
      return listOf(await this.#search.page(whose, asked));
    const { jobs, next } = await this.#jobs.list(whose, kept);
    return { jobs: jobs.map((view) => jobDocument(view)), next_cursor: next ?? null, catching_up: false };
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
    if (wait === undefined) return this.#current(readableBy(caller), id);
    const view = await this.#jobs.wait(readableBy(caller), id, wait * 1_000, signalOf(reply));
    reply.header('preference-applied', `wait=${wait}`);
    return this.#shown(view);
  }

  /** The one thing that holds the job now. */
  @Get(':id/why')
  @Needs('read')
  async why(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<Why> {
    const view = await this.#jobs.get(readableBy(caller), id);
    const [prospect, attestors, enginesAway, cold] = await Promise.all([
      this.#prospects.of(view),
      this.#directory.attestorFigures(),
      this.#directory.enginesAway(view.model),
      this.#directory.coldness(view.model),
    ]);
    return whyOf(view, prospect, { attestors, enginesAway, cold });
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

  @Post(':id/retry')
  @HttpCode(202)
  @Needs('submit')
  async retry(
    @Caller() caller: ApiCaller,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RetryAnswer> {
    const admitted = await this.#retries.retry(readableBy(caller), caller, id);
    await this.#own.require(caller, [admitted]);
    reply.header('location', `/v1/jobs/${admitted.id}`);
    if (admitted.fresh !== undefined) return { outcome: 'retried', job: jobDocument(admitted.fresh) };
    reply.status(200);
    return {
      outcome: 'already_retried',
      job: await this.#shown(await this.#jobs.get(readableBy(caller), admitted.id)),
    };
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
    let told: Foreseen | undefined;
    for await (const { view, events } of lookAtJob(this.#jobs, this.#wake, job, signal)) {
      for (const event of events) yield formatEvent(event);
      const foreseen = await this.#prospects.of(view);
      if (foreseen === undefined || !hasMoved(told, foreseen, Date.now())) continue;
      told = foreseen;
      // Without an id: whoever comes back is told what is foreseen then.
      yield `event: forecast\ndata: ${JSON.stringify({ job: job.id, ...foreseenDocument(foreseen) })}\n\n`;
    }
  }
}

function listOf({ jobs, next, isCatchingUp }: FoundJobs): JobList {
  return {
    jobs: jobs.map((job) => ('open' in job ? jobDocument(job.open) : pastDocument(job.ended))),
    next_cursor: next ?? null,
    catching_up: isCatchingUp,
  };
}

/** What a job was told with its place when it was admitted. */
function foreseenOf({ createdMs }: JobView, outlook: Admitted['outlook']): Foreseen {
  if (outlook === undefined) return { position: undefined, eta: undefined };
  const { place, told } = outlook;
  return {
    position: place.ends,
    eta: { p50Ms: createdMs + endAt(told, 'z50'), p90Ms: createdMs + endAt(told, 'z90') },
  };
}

/** Whether nothing can follow the event that a caller has seen. */
function isOver(view: JobView, since: EventId): boolean {
  const last = stateEvents(view).at(-1);
  return isFinal(view.state) && last !== undefined && !isAfter(last.id, since);
}

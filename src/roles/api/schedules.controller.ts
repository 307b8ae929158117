import { Body, Controller, Delete, Get, Headers, Param, Patch, Post } from '@nestjs/common';
import { JobReader, type JobView } from '../../core/jobs/job.reader.ts';
import { isAmong } from '../../core/jobs/whose.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { StorageGate } from '../../ground/redis/storage-gate.ts';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import { Admission } from '../../surfaces/admission/admission.ts';
import { CreatedOnce } from '../../surfaces/admission/created-once.ts';
import { change, dueFrom, pause, resume } from '../../surfaces/schedules/schedule-moves.ts';
import type { Schedule, Wishes } from '../../surfaces/schedules/schedule.ts';
import { MAX_SCHEDULES, Schedules, newScheduleId } from '../../surfaces/schedules/schedule.store.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { EgressRules, checkUrl } from '../../surfaces/webhooks/egress.ts';
import { Caller, Needs } from './caller.guard.ts';
import { requireReadable } from './own-answers.ts';
import { askedOnce, parse, parseIdempotencyKey } from './parse.ts';
import { scheduleDocument, scheduleSummary } from './schedule-document.ts';
import {
  ChangeSchedule,
  CreateSchedule,
  type DeletedSchedule,
  type ScheduleDocument,
  type ScheduleList,
} from './schedules.schemas.ts';

/**
 * Every schedule stands in Redis for as long as its owner wants, so its request is bounded more than a job's.
 */
const MAX_REQUEST_BYTES = 65_536;

/** Jobs that are submitted again and again. */
@Controller('/v1/schedules')
export class SchedulesController {
  readonly #schedules: Schedules;
  readonly #admission: Admission;
  readonly #reader: JobReader;
  readonly #created: CreatedOnce;
  readonly #egress: EgressRules;
  readonly #gate: StorageGate;

  constructor(
    schedules: Schedules,
    admission: Admission,
    reader: JobReader,
    created: CreatedOnce,
    egress: EgressRules,
    gate: StorageGate,
  ) {
    this.#schedules = schedules;
    this.#admission = admission;
    this.#reader = reader;
    this.#created = created;
    this.#egress = egress;
    this.#gate = gate;
  }

  @Post()
  @Needs('submit')
  async create(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
  ): Promise<ScheduleDocument> {
    const once = askedOnce(parseIdempotencyKey(idempotencyKey), '/v1/schedules', body);
    const { request, ...given } = parse(CreateSchedule, body);
    const wishes = wishesOf(given);
    const bytes = Buffer.byteLength(JSON.stringify(request));
    if (bytes > MAX_REQUEST_BYTES)
      throw new CodedError(
        'body_too_large',
        `The request of the schedule has ${bytes} bytes, and ${MAX_REQUEST_BYTES} are allowed.`,
      );
    if (request.not_before !== undefined)
      throw new CodedError('request_invalid', 'request.not_before: the schedule says when its jobs begin.', {
        param: 'request.not_before',
        hint: 'leave it out, or use start_at of the schedule',
      });
    if (request.webhook !== undefined) checkUrl(request.webhook.url, this.#egress);
    await this.#gate.requireRoom();
    await this.#admission.plan(request);
    const createdMs = Date.now();
    const nextMs = dueFrom(wishes, createdMs + 1);
    if (nextMs === null)
      throw new CodedError('request_invalid', 'This schedule would never be due.', { param: 'cron' });
    const id = await this.#created.idFor(caller.tenant, once, newScheduleId());
    const schedule: Schedule = {
      id,
      ...wishes,
      request,
      tenant: caller.tenant,
      keyId: caller.keyId,
      createdMs,
      pausedMs: null,
      pausedBecause: null,
      nextMs,
      waiting: null,
      lastJob: null,
      runs: [],
    };
    // What a tenant calls its things is content, and does not belong in a log that nothing leaves.
    const { cron, timezone } = schedule;
    const detail = { cron, timezone, model: request.model };
    const made = await this.#schedules.create(schedule, { by: caller.keyId, action: 'schedule.create', detail });
    requireReadable(caller, made);
    return this.#document(caller, made);
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller): Promise<ScheduleList> {
    const schedules = await this.#schedules.list(readableBy(caller));
    return { schedules: schedules.map(scheduleSummary), most: MAX_SCHEDULES };
  }

  @Get(':schedule')
  @Needs('read')
  async get(@Caller() caller: ApiCaller, @Param('schedule') id: string): Promise<ScheduleDocument> {
    return this.#document(caller, await this.#schedules.get(readableBy(caller), id));
  }

  @Patch(':schedule')
  @Needs('submit')
  async change(
    @Caller() caller: ApiCaller,
    @Param('schedule') id: string,
    @Body() body: unknown,
  ): Promise<ScheduleDocument> {
    const { keyId } = await this.#schedules.get(changeableBy(caller), id);
    const { paused, ...given } = parse(ChangeSchedule, body);
    const nowMs = Date.now();
    // Who may not read its answers does not make them its own by resuming it.
    const nextKey = isAmong(readableBy(caller), { tenant: caller.tenant, keyId }) ? caller.keyId : keyId;
    const changed = await this.#schedules.change(
      id,
      (schedule) => {
        const wished = change(schedule, nowMs, changesOf(given));
        requireSpan(wished);
        if (paused === undefined) return wished;
        return paused ? pause(wished, nowMs, 'by its owner') : resume(wished, nowMs, nextKey);
      },
      { author: { by: caller.keyId, action: 'schedule.change', detail: { changed: Object.keys(given), paused } } },
    );
    return this.#document(caller, changed ?? (await this.#schedules.get(changeableBy(caller), id)));
  }

  @Delete(':schedule')
  @Needs('submit')
  async remove(@Caller() caller: ApiCaller, @Param('schedule') id: string): Promise<DeletedSchedule> {
    await this.#schedules.remove(changeableBy(caller), id, caller.keyId);
    return { id, deleted: true };
  }

  async #document(caller: ApiCaller, schedule: Schedule): Promise<ScheduleDocument> {
    const ids = schedule.runs.flatMap(({ job }) => (job === undefined ? [] : [job]));
    const views = await Promise.all(ids.map((id) => this.#reader.read(id)));
    const jobs = new Map<string, JobView>(
      views.flatMap((view) => (view?.tenant === schedule.tenant ? [[view.id, view]] : [])),
    );
    const price = await this.#priceOf(schedule.request);
    const document = scheduleDocument(schedule, jobs, price);
    return isAmong(readableBy(caller), schedule) ? document : { ...document, request: null };
  }

  /** Undefined where such a job cannot be had at the moment; its runs say so. */
  async #priceOf(request: SubmitJob) {
    try {
      return (await this.#admission.plan(request)).price;
    } catch (error) {
      if (error instanceof CodedError) return undefined;
      throw error;
    }
  }
}

const msOrNull = (time: string | null) => (time === null ? null : Date.parse(time));

function wishesOf({ catch_up, start_at, end_at, ...rest }: Omit<CreateSchedule, 'request'>): Wishes {
  const wishes = { ...rest, catchUp: catch_up, startMs: msOrNull(start_at), endMs: msOrNull(end_at) };
  requireSpan(wishes);
  return wishes;
}

function changesOf({ catch_up, start_at, end_at, ...rest }: Omit<ChangeSchedule, 'paused'>): Partial<Wishes> {
  const { cron, timezone, name, metadata, overlap } = rest;
  return {
    ...(cron === undefined ? {} : { cron }),
    ...(timezone === undefined ? {} : { timezone }),
    ...(name === undefined ? {} : { name }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(overlap === undefined ? {} : { overlap }),
    ...(catch_up === undefined ? {} : { catchUp: catch_up }),
    ...(start_at === undefined ? {} : { startMs: msOrNull(start_at) }),
    ...(end_at === undefined ? {} : { endMs: msOrNull(end_at) }),
  };
}

function requireSpan({ startMs, endMs }: Wishes): void {
  if (startMs !== null && endMs !== null && endMs < startMs)
    throw new CodedError('request_invalid', 'The schedule would end before it starts.', { param: 'end_at' });
}

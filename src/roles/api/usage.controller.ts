import { Readable } from 'node:stream';
import { Body, Controller, Get, HttpCode, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Admission } from '../../surfaces/admission/admission.ts';
import { jobTimes } from '../../surfaces/admission/job-times.ts';
import { CLOSED_PERIOD_TYPE } from '../../proof/contract/closed-period.ts';
import { toEnvelope } from '../../proof/receipts/dsse.ts';
import { DEFAULTS, SubmitJob } from '../../proof/contract/submit-job.ts';
import { Prospects } from '../../core/forecast/prospects.ts';
import { predictedWaitMs, type QueueFigures } from '../../core/backlog/predicted-wait.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ClosedPeriods } from '../../surfaces/ledger/closed-periods.store.ts';
import { Ledgers } from '../../surfaces/ledger/ledgers.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { ServiceFiles } from '../../surfaces/service/service-files.ts';
import { dayOf, monthOf } from '../../surfaces/ledger/ledger-entry.ts';
import { MEDIA_TYPES } from '../../surfaces/ledger/ledger-lines.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { Caller, Needs } from './caller.guard.ts';
import { Directory } from './directory.ts';
import { foreseenDocument } from './job-document.ts';
import { parse } from './parse.ts';
import { LedgerQuery, UsageQuery, type LedgerPeriods, type Quote, type UsageDocument } from './usage.schemas.ts';

/** Why a job would not be worked on now, by how its queue stands; undefined where it would. */
function hindranceTo(model: string, { slots, state }: QueueFigures): Quote['reason'] | undefined {
  if (state === 'draining')
    return { code: 'pool_draining', detail: `The pool of ${model} is being drained; the job would be refused.` };
  if (state === 'paused')
    return { code: 'paused_pool', detail: `The pool of ${model} is paused; the job would wait until it is resumed.` };
  return slots > 0
    ? undefined
    : { code: 'no_worker', detail: `No worker serves ${model} now; the job would wait for one.` };
}

/** The wait, where it is known, and never less than this. */
function atLeast(waitMs: number | undefined, leastMs: number): number | undefined {
  return waitMs === undefined ? undefined : Math.max(waitMs, leastMs);
}

const NO_ROOM = {
  spend_exceeded: 'The job may cost more than what is spent leaves of the limit.',
  spend_held: 'The job may cost more than what is spent and what open jobs may cost leave of the limit.',
} as const;

/** What a job would cost, and what was used. */
@Controller('/v1')
export class UsageController {
  readonly #usage: UsageStore;
  readonly #admission: Admission;
  readonly #directory: Directory;
  readonly #files: ServiceFiles;
  readonly #ledgers: Ledgers;
  readonly #closed: ClosedPeriods;
  readonly #prospects: Prospects;

  constructor(
    usage: UsageStore,
    admission: Admission,
    directory: Directory,
    files: ServiceFiles,
    ledgers: Ledgers,
    closed: ClosedPeriods,
    prospects: Prospects,
  ) {
    this.#prospects = prospects;
    this.#ledgers = ledgers;
    this.#closed = closed;
    this.#files = files;
    this.#usage = usage;
    this.#admission = admission;
    this.#directory = directory;
  }

  /** A dry run: nothing is kept, and nothing is taken from any limit. */
  @Post('quote')
  @HttpCode(200)
  @Needs('submit')
  async quote(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<Quote> {
    const job = parse(SubmitJob, body);
    try {
      const { model, price, policy, params, inputBytes } = await this.#admission.plan(job);
      const nowMs = await this.#admission.nowMs();
      const { deadlineMs, notBeforeMs } = jobTimes(job, nowMs);
      const [durationMs, queue, room, foreseen] = await Promise.all([
        this.#usage.recentDurationMs(model.name),
        this.#directory.queueOf(model),
        price === undefined ? ('fits' as const) : this.#usage.fits(caller, price),
        this.#prospects.ofNew(
          model,
          {
            size: { task: job.task, maxTokens: params.max_tokens, inputBytes },
            flow: caller.tenant,
            band: job.band ?? DEFAULTS.band,
            weight: caller.limits.tenant.weight ?? 1,
            timeMs: deadlineMs - (notBeforeMs ?? nowMs),
          },
          notBeforeMs,
        ),
      ]);
      const reason = hindranceTo(model.name, queue) ?? (room === 'fits' ? null : { code: room, detail: NO_ROOM[room] });
      return {
        possible: reason === null,
        reason,
        attestation: policy,
        price: price ?? null,
        most: price?.hold ?? 0,
        currency: price?.currency ?? null,
        waiting_jobs: queue.waiting,
        predicted_wait_ms:
          atLeast(predictedWaitMs(queue, job.band ?? DEFAULTS.band), (notBeforeMs ?? nowMs) - nowMs) ?? null,
        ...foreseenDocument(queue.state === 'open' ? foreseen : undefined),
        predicted_run_ms: durationMs ?? null,
      };
    } catch (error) {
      if (!(error instanceof CodedError) || error.status >= 500 + 4) throw error;
      return {
        possible: false,
        reason: { code: error.code, detail: error.message },
        attestation: null,
        price: null,
        most: 0,
        currency: null,
        waiting_jobs: 0,
        predicted_wait_ms: null,
        ...foreseenDocument(undefined),
        predicted_run_ms: null,
      };
    }
  }

  @Get('usage')
  @Needs('read')
  async usage(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<UsageDocument> {
    const { from, to, group_by } = parse(UsageQuery, query);
    const today = dayOf(Date.now());
    const span = { from: from ?? to ?? today, to: to ?? today };
    const { currency } = this.#files.prices;
    const [rows, account, accounts] = await Promise.all([
      this.#usage.usage(caller.tenant, { ...span, groupBy: group_by }),
      this.#usage.account(caller.tenant, currency),
      this.#usage.accounts(caller.tenant),
    ]);
    return {
      ...span,
      rows,
      account: { spent: account.spent, held: account.held },
      accounts: accounts.map(({ currency: of, spent, held }) => ({ currency: of, spent, held })),
    };
  }

  @Get('ledger')
  @Needs('read_all')
  async ledger(@Caller() caller: ApiCaller, @Query() query: unknown, @Res() reply: FastifyReply): Promise<void> {
    const { month = monthOf(Date.now()), format } = parse(LedgerQuery, query);
    const name = `ledger-${caller.tenant}-${month}.${format}`;
    await reply
      .type(MEDIA_TYPES[format])
      .header('content-disposition', `attachment; filename="${name}"`)
      .send(Readable.from(this.#ledgers.text(caller.tenant, month, format)));
  }

  @Get('ledger/periods')
  @Needs('read_all')
  async periods(@Caller() caller: ApiCaller): Promise<LedgerPeriods> {
    const closed = await this.#closed.list(caller.tenant);
    return {
      periods: closed.map(({ period: { month, entries, sums, jsonl, csv }, signed }) => ({
        month,
        entries,
        sums,
        jsonl,
        csv,
        statement: { ...toEnvelope(signed), payloadType: CLOSED_PERIOD_TYPE },
      })),
    };
  }
}

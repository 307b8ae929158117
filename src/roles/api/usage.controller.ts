import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { Admission } from '../../surfaces/admission/admission.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { predictedWaitMs } from '../../core/backlog/predicted-wait.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { dayOf } from '../../surfaces/ledger/ledger-entry.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { Caller, Needs } from './caller.guard.ts';
import { Directory } from './directory.ts';
import { parse } from './parse.ts';
import { UsageQuery, type Quote, type UsageDocument } from './usage.schemas.ts';

/** What a job would cost, and what was used. */
@Controller('/v1')
export class UsageController {
  readonly #usage: UsageStore;
  readonly #admission: Admission;
  readonly #directory: Directory;

  constructor(usage: UsageStore, admission: Admission, directory: Directory) {
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
      const { model, price, policy } = await this.#admission.plan(job);
      const [durationMs, queue, account] = await Promise.all([
        this.#usage.recentDurationMs(model.name),
        this.#directory.queueOf(model),
        this.#usage.account(caller.tenant),
      ]);
      const limits = [
        caller.limits.tenant.spend === undefined ? Infinity : caller.limits.tenant.spend - account.spent - account.held,
        caller.limits.key.spend === undefined
          ? Infinity
          : caller.limits.key.spend -
            (account.keys[caller.keyId]?.spent ?? 0) -
            (account.keys[caller.keyId]?.held ?? 0),
      ];
      const isAffordable = price === undefined || price.hold <= Math.min(...limits);
      const isServed = queue.slots > 0;
      return {
        possible: isAffordable && isServed,
        reason: !isServed
          ? { code: 'no_worker', detail: `No worker serves ${model.name} now; the job would wait for one.` }
          : !isAffordable
            ? { code: 'spend_exceeded', detail: 'The job may cost more than is left of the spending limit.' }
            : null,
        attestation: policy,
        price: price ?? null,
        most: price?.hold ?? 0,
        currency: price?.currency ?? null,
        waiting_jobs: queue.waiting,
        predicted_wait_ms: predictedWaitMs(queue) ?? null,
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
    const [rows, account] = await Promise.all([
      this.#usage.usage(caller.tenant, { ...span, groupBy: group_by }),
      this.#usage.account(caller.tenant),
    ]);
    return { ...span, rows, account: { spent: account.spent, held: account.held } };
  }
}

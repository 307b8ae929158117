import { Injectable, Inject, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { PoolEmptier } from '../../core/backlog/pool-emptier.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { BatchRunner } from '../../surfaces/batches/batch-runner.ts';
import { HistoryWriter } from '../../surfaces/history/history-writer.ts';
import { JobEndProcessor } from '../../surfaces/job-ends/job-end-processor.ts';
import { LedgerCloser } from '../../surfaces/ledger/ledger-closer.ts';
import { FileEraser } from '../../surfaces/offboarding/file-eraser.ts';
import { TenantDeleter } from '../../surfaces/offboarding/tenant-deleter.ts';
import { WorkStopper } from '../../surfaces/offboarding/work-stopper.ts';
import { PaymentSettler } from '../../surfaces/payments/payment-settler.ts';
import { ScheduleRunner } from '../../surfaces/schedules/schedule-runner.ts';
import { MemoryKeeper } from '../../surfaces/memory/memory-keeper.ts';
import { WebhookSender } from '../../surfaces/webhooks/webhook-sender.ts';
import { MemoryHost } from './memory-host.ts';

/** Starts what a courier does in the background, and ends it before the connections are closed. */
@Injectable()
export class CourierLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #wake: Wake;
  readonly #work: readonly { start(): void; stop(): Promise<void> }[];

  constructor(
    wake: Wake,
    batches: BatchRunner,
    schedules: ScheduleRunner,
    ends: JobEndProcessor,
    sender: WebhookSender,
    closer: LedgerCloser,
    stopper: WorkStopper,
    files: FileEraser,
    tenants: TenantDeleter,
    pools: PoolEmptier,
    keeper: MemoryKeeper,
    history: HistoryWriter,
    memory: MemoryHost,
    @Inject(PaymentSettler) settler: PaymentSettler | undefined,
  ) {
    this.#wake = wake;
    const paid = settler !== undefined ? [settler] : [];
    const memories = [keeper, history, memory];
    this.#work = [batches, schedules, ends, sender, closer, stopper, files, tenants, pools, ...memories, ...paid];
  }

  onApplicationBootstrap(): void {
    this.#wake.start();
    for (const work of this.#work) work.start();
  }

  /** In the order in which they were started; the wake-ups that batches wait for end last. */
  async beforeApplicationShutdown(): Promise<void> {
    for (const work of this.#work) await work.stop();
    this.#wake.stop();
  }
}

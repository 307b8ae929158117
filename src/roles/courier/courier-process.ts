import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { openServiceContext } from '../../surfaces/service/service-context.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { JobEndProcessor } from '../../surfaces/job-ends/job-end-processor.ts';
import { PaymentSettler } from '../../surfaces/payments/payment-settler.ts';
import { WebhookSender } from '../../surfaces/webhooks/webhook-sender.ts';
import { BatchRunner } from '../../surfaces/batches/batch-runner.ts';
import type { CourierConfig } from './courier-config.ts';

/** What nobody waits for on a connection: batches, the ends of jobs (usage, ledger, events), webhooks, payments. Any number of couriers may run at once. */
@Injectable()
export class CourierProcess implements BeforeApplicationShutdown {
  readonly #stops: readonly (() => unknown)[];

  private constructor(stops: readonly (() => unknown)[]) {
    this.#stops = stops;
  }

  static async start(config: CourierConfig, logger: Logger): Promise<CourierProcess> {
    const service = await openServiceContext(config, logger);
    const batches = new BatchRunner(service, logger);
    batches.start();
    const bookkeeper = new JobEndProcessor(service, logger, freshRandom(12).toString('hex'));
    bookkeeper.start();
    const messenger = new WebhookSender(service, logger, config.COUNTERSIGN_WEBHOOK_SCHEDULE.split(',').map(Number));
    messenger.start();
    const settler =
      service.paymentTerms === undefined
        ? undefined
        : new PaymentSettler(service, service.paymentTerms.facilitator, logger);
    settler?.start();
    logger.info('courier running');
    return new CourierProcess([
      () => batches.stop(),
      () => bookkeeper.stop(),
      () => messenger.stop(),
      () => settler?.stop(),
      () => service.close(),
    ]);
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (const stop of this.#stops) await stop();
  }
}

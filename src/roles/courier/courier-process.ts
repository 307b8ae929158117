import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { openDesk } from '../../surfaces/service/service-context.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { Bookkeeper } from '../../surfaces/job-ends/job-end-processor.ts';
import { Settler } from '../../surfaces/payments/payment-settler.ts';
import { Messenger } from '../../surfaces/webhooks/webhook-sender.ts';
import { BatchRunner } from '../../surfaces/batches/batch-runner.ts';
import type { CourierConfig } from './courier-config.ts';

/** What nobody waits for on a connection: batches, the books, webhooks, payments. Any number of couriers may run at once. */
@Injectable()
export class CourierProcess implements BeforeApplicationShutdown {
  readonly #stops: readonly (() => unknown)[];

  private constructor(stops: readonly (() => unknown)[]) {
    this.#stops = stops;
  }

  static async start(config: CourierConfig, logger: Logger): Promise<CourierProcess> {
    const desk = await openDesk(config, logger);
    const batches = new BatchRunner(desk, logger);
    batches.start();
    const bookkeeper = new Bookkeeper(desk, logger, freshRandom(12).toString('hex'));
    bookkeeper.start();
    const messenger = new Messenger(desk, logger, config.COUNTERSIGN_WEBHOOK_SCHEDULE.split(',').map(Number));
    messenger.start();
    const settler =
      desk.paymentTerms === undefined ? undefined : new Settler(desk, desk.paymentTerms.facilitator, logger);
    settler?.start();
    logger.info('courier running');
    return new CourierProcess([
      () => batches.stop(),
      () => bookkeeper.stop(),
      () => messenger.stop(),
      () => settler?.stop(),
      () => desk.close(),
    ]);
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (const stop of this.#stops) await stop();
  }
}

import { Inject, Module, type BeforeApplicationShutdown, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, Reflector } from '@nestjs/core';
import { LogReader } from '../../proof/tlog/log-reader.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { Completions } from '../../surfaces/openai/completions.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { Admission } from '../../surfaces/admission/admission.ts';
import type { ApiParts } from './api-process.ts';
import { BatchFiles } from '../../surfaces/batches/batch-files.store.ts';
import { Batches } from '../../surfaces/batches/batch.store.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { AuditLog } from '../../surfaces/tenants/audit-log.ts';
import { Tenants } from '../../surfaces/tenants/tenant.store.ts';
import { AdminController } from './admin.controller.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { PaymentRecords } from '../../surfaces/payments/payment.store.ts';
import { Webhooks } from '../../surfaces/webhooks/webhook.store.ts';
import { FeedReader } from './feed-reader.ts';
import { WebhookKeys, WebhooksController } from './webhooks.controller.ts';
import { UsageController } from './usage.controller.ts';
import { BatchesController } from './batches.controller.ts';
import { FilesController } from './files.controller.ts';
import { CallerGuard } from './caller.guard.ts';
import { Directory } from './directory.ts';
import { DirectoryController } from './directory.controller.ts';
import { EventStreams } from './event-streams.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { JobsController } from './jobs.controller.ts';
import { LogController } from './log.controller.ts';
import { Metrics } from './metrics.ts';
import { OpenAiController } from './openai.controller.ts';
import { Responses } from '../../surfaces/openai/responses.ts';
import { ResponsesController } from './responses.controller.ts';
import { ProblemFilter } from './problem.filter.ts';

const PARTS = Symbol('ApiParts');

/** The API as a Nest application over parts that were opened before. */
@Module({})
export class ApiModule implements BeforeApplicationShutdown {
  readonly #parts: ApiParts;

  constructor(@Inject(PARTS) parts: ApiParts) {
    this.#parts = parts;
  }

  static with(parts: ApiParts, logger: Logger): DynamicModule {
    const { service } = parts;
    const audit = new AuditLog(service.redis, service.keys);
    const gate = new PaymentGate({ ...service, terms: service.paymentTerms, records: service.payments, logger });
    return {
      module: ApiModule,
      controllers: [
        JobsController,
        OpenAiController,
        ResponsesController,
        FilesController,
        BatchesController,
        WebhooksController,
        UsageController,
        AdminController,
        DirectoryController,
        LogController,
      ],
      providers: [
        { provide: PARTS, useValue: parts },
        { provide: Admission, useValue: service.admission },
        { provide: Completions, useValue: service.completions },
        { provide: Responses, useValue: new Responses(service) },
        { provide: Jobs, useValue: service.jobs },
        { provide: Wake, useValue: service.wake },
        { provide: BatchFiles, useValue: service.files },
        { provide: Batches, useValue: service.batches },
        { provide: LogReader, useValue: service.log },
        { provide: EventStreams, useValue: parts.streams },
        { provide: Directory, useValue: parts.directory },
        { provide: Metrics, useValue: parts.metrics },
        { provide: ApiKeys, useValue: service.apiKeys },
        { provide: Tenants, useValue: new Tenants(service.redis, service.keys, audit) },
        { provide: AuditLog, useValue: audit },
        { provide: UsageStore, useValue: service.usage },
        { provide: Webhooks, useValue: service.webhooks },
        { provide: PaymentGate, useValue: gate },
        { provide: PaymentRecords, useValue: service.payments },
        { provide: WebhookKeys, useValue: new WebhookKeys(service.signingKey, service.egress) },
        { provide: FeedReader, useValue: new FeedReader(service.redis, service.keys) },
        {
          provide: APP_GUARD,
          useFactory: (reflector: Reflector, keys: ApiKeys) => new CallerGuard(reflector, keys, service.limits, gate),
          inject: [Reflector, ApiKeys],
        },
        { provide: APP_FILTER, useFactory: () => new ProblemFilter(logger) },
      ],
    };
  }

  /** Streams end first, so that a client reconnects elsewhere while the rest is closed. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#parts.close();
  }
}

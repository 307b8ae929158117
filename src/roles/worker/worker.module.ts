import { Module, type DynamicModule } from '@nestjs/common';
import { WorkerProcess } from './worker-process.ts';
import type { WorkerConfig } from './worker-config.ts';
import type { Logger } from '../../ground/logging/logger.ts';

/** The worker as a Nest application: Nest calls it at start and at shutdown. */
@Module({})
export class WorkerModule {
  static with(config: WorkerConfig, logger: Logger): DynamicModule {
    return {
      module: WorkerModule,
      providers: [{ provide: WorkerProcess, useFactory: () => WorkerProcess.start(config, logger) }],
    };
  }
}

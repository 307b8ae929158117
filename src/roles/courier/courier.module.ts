import { Module, type DynamicModule } from '@nestjs/common';
import type { Logger } from '../../ground/logging/logger.ts';
import type { CourierConfig } from './courier-config.ts';
import { CourierProcess } from './courier-process.ts';

/** The courier as a Nest application: Nest calls it at start and at shutdown. */
@Module({})
export class CourierModule {
  static with(config: CourierConfig, logger: Logger): DynamicModule {
    return {
      module: CourierModule,
      providers: [{ provide: CourierProcess, useFactory: () => CourierProcess.start(config, logger) }],
    };
  }
}

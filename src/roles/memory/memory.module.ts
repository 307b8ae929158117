import { Module, type DynamicModule } from '@nestjs/common';
import type { Logger } from '../../ground/logging/logger.ts';
import type { MemoryConfig } from './memory-config.ts';
import { MemoryLifecycle } from './memory-lifecycle.ts';

/** The memory: the only process that opens its database. */
@Module({})
export class MemoryModule {
  static with(config: MemoryConfig, logger: Logger): DynamicModule {
    return {
      module: MemoryModule,
      providers: [{ provide: MemoryLifecycle, useFactory: () => new MemoryLifecycle(config, logger) }],
    };
  }
}

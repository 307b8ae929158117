import { Module, type DynamicModule } from '@nestjs/common';
import type { Logger } from '../../ground/logging/logger.ts';
import { AttestorProcess } from './attestor-process.ts';
import type { AttestorConfig } from './attestor-config.ts';

/** The attestor as a Nest application: Nest calls it at start and at shutdown. */
@Module({})
export class AttestorModule {
  static with(config: AttestorConfig, logger: Logger): DynamicModule {
    return {
      module: AttestorModule,
      providers: [{ provide: AttestorProcess, useFactory: () => AttestorProcess.start(config, logger) }],
    };
  }
}

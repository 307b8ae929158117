import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { runRole } from '../../ground/process/run-role.ts';
import { WorkerConfig } from './worker-config.ts';
import { WorkerModule } from './worker.module.ts';

await runRole('worker', WorkerConfig, async (config, logger, nestLog) => ({
  app: await NestFactory.createApplicationContext(WorkerModule.with(config, logger), {
    logger: nestLog,
    abortOnError: false,
  }),
}));

import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { runRole } from '../../ground/process/run-role.ts';
import { CourierConfig } from './courier-config.ts';
import { CourierModule } from './courier.module.ts';

await runRole('courier', CourierConfig, async (config, logger, nestLog) => ({
  app: await NestFactory.createApplicationContext(CourierModule.with(config, logger), {
    logger: nestLog,
    abortOnError: false,
  }),
}));

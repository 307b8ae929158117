import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { runRole } from '../../ground/process/run-role.ts';
import { AttestorConfig } from './attestor-config.ts';
import { AttestorModule } from './attestor.module.ts';

await runRole('attestor', AttestorConfig, async (config, logger, nestLog) => ({
  app: await NestFactory.createApplicationContext(AttestorModule.with(config, logger), {
    logger: nestLog,
    abortOnError: false,
  }),
}));

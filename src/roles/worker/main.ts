import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { GatewayWorkerConfig } from './gateway-worker-config.ts';
import { GatewayWorkerModule } from './gateway-worker.module.ts';
import { WorkerConfig } from './worker-config.ts';
import { WorkerModule } from './worker.module.ts';

if (process.env['COUNTERSIGN_GATEWAY_URL'] === undefined)
  await runRole('worker', WorkerConfig, (config, logger) => WorkerModule.with(config, logger));
else await runRole('worker', GatewayWorkerConfig, (config, logger) => GatewayWorkerModule.with(config, logger));

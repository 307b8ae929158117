import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { WorkerConfig } from './worker-config.ts';
import { WorkerModule } from './worker.module.ts';

await runRole('worker', WorkerConfig, (config, logger) => WorkerModule.with(config, logger));

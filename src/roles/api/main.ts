import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { ApiConfig } from './api-config.ts';
import { ApiModule } from './api.module.ts';
import { serveApi } from './serve-api.ts';

await runRole('api', ApiConfig, (config, logger) => ApiModule.with(config, logger), serveApi);

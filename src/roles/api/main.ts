import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { ApiConfig } from './api-config.ts';
import { serveApi } from './serve-api.ts';

await runRole('api', ApiConfig, serveApi);

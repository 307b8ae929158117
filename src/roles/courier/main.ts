import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { CourierConfig } from './courier-config.ts';
import { CourierModule } from './courier.module.ts';

await runRole('courier', CourierConfig, (config, logger) => CourierModule.with(config, logger));

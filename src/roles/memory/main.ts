import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { MemoryConfig } from './memory-config.ts';
import { MemoryModule } from './memory.module.ts';

await runRole('memory', MemoryConfig, (config, logger) => MemoryModule.with(config, logger));

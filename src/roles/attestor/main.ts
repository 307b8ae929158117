import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { AttestorConfig } from './attestor-config.ts';
import { AttestorModule } from './attestor.module.ts';

await runRole('attestor', AttestorConfig, (config, logger) => AttestorModule.with(config, logger));

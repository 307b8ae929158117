import 'reflect-metadata';
import { runRole } from '../../ground/process/run-role.ts';
import { GatewayConfig } from './gateway-config.ts';
import { GatewayModule } from './gateway.module.ts';
import { serveGateway } from './serve-gateway.ts';

await runRole('gateway', GatewayConfig, (config, logger) => GatewayModule.with(config, logger), serveGateway);

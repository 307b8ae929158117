import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from '../../ground/logging/logger.ts';
import { nestOptions, type RunningRole } from '../../ground/process/run-role.ts';
import { isTracing } from '../../ground/tracing/spans.ts';
import { listenAt } from '../../surfaces/http/listen-at.ts';
import type { ApiConfig } from './api-config.ts';
import { httpAdapter } from './http-server.ts';
import { Metrics } from './metrics.ts';
import { traceRequests } from './request-spans.ts';

/**
 * Makes the API's application and listens. Throws CodedError `port_taken` where another program listens
 * there.
 */
export async function serveApi(module: DynamicModule, config: ApiConfig, logger: Logger): Promise<RunningRole> {
  const adapter = httpAdapter({ corsOrigins: config.COUNTERSIGN_CORS_ORIGINS });
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    ...nestOptions(logger),
    bodyParser: false,
  });
  if (isTracing()) traceRequests(adapter.getInstance());
  const metrics = app.get(Metrics);
  adapter.getInstance().addHook('onResponse', (request, reply, done) => {
    metrics.observe(request.method, request.routeOptions.url ?? 'none', reply.statusCode, reply.elapsedTime / 1_000);
    done();
  });
  const url = await listenAt(app, { host: config.COUNTERSIGN_HOST, port: config.COUNTERSIGN_PORT });
  logger.info({ url }, 'api listening');
  return { app, facts: { url } };
}

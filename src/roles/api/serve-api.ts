import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { nestOptions, type RunningRole } from '../../ground/process/run-role.ts';
import type { ApiConfig } from './api-config.ts';
import { httpAdapter } from './http-server.ts';
import { Metrics } from './metrics.ts';

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
  const metrics = app.get(Metrics);
  adapter.getInstance().addHook('onResponse', (request, reply, done) => {
    metrics.observe(request.method, request.routeOptions.url ?? 'none', reply.statusCode, reply.elapsedTime / 1_000);
    done();
  });
  try {
    await app.listen(config.COUNTERSIGN_PORT, config.COUNTERSIGN_HOST);
  } catch (cause) {
    await app.close();
    throw whyNotListening(config, cause);
  }
  const address = adapter.getInstance().server.address();
  const port = typeof address === 'object' && address !== null ? address.port : config.COUNTERSIGN_PORT;
  const host = config.COUNTERSIGN_HOST.includes(':') ? `[${config.COUNTERSIGN_HOST}]` : config.COUNTERSIGN_HOST;
  const url = `http://${host}:${port}`;
  logger.info({ url }, 'api listening');
  return { app, facts: { url } };
}

function whyNotListening({ COUNTERSIGN_HOST: host, COUNTERSIGN_PORT: port }: ApiConfig, cause: unknown): CodedError {
  if (systemCodeOf(cause) === 'EADDRINUSE')
    return new CodedError('port_taken', `Another program listens on ${host}:${port}.`, {
      cause,
      hint: 'choose another port with COUNTERSIGN_PORT',
    });
  return new CodedError('start_failed', `Cannot listen on ${host}:${port}: ${messageOf(cause)}.`, { cause });
}

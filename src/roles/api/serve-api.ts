import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import type { Logger, NestLog } from '../../ground/logging/logger.ts';
import { ApiModule } from './api.module.ts';
import { openApi } from './api-process.ts';
import type { ApiConfig } from './api-config.ts';
import { httpAdapter } from './http-server.ts';

/** Opens the API and listens. Throws CodedError `port_taken` where somebody else does. */
export async function serveApi(
  config: ApiConfig,
  logger: Logger,
  nestLog: NestLog,
): Promise<{ app: NestFastifyApplication; facts: { url: string } }> {
  const parts = await openApi(config, logger);
  const adapter = httpAdapter();
  adapter.getInstance().addHook('onResponse', (request, reply, done) => {
    parts.metrics.observe(
      request.method,
      request.routeOptions.url ?? 'none',
      reply.statusCode,
      reply.elapsedTime / 1_000,
    );
    done();
  });
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule.with(parts, logger), adapter, {
    logger: nestLog,
    abortOnError: false,
    bodyParser: false,
  });
  try {
    await app.listen(config.COUNTERSIGN_PORT, config.COUNTERSIGN_HOST);
  } catch (cause) {
    await parts.close();
    if (systemCodeOf(cause) === 'EADDRINUSE') {
      throw new CodedError(
        'port_taken',
        `Something else listens on ${config.COUNTERSIGN_HOST}:${config.COUNTERSIGN_PORT}.`,
        { cause, hint: 'choose another with COUNTERSIGN_PORT' },
      );
    }
    throw new CodedError(
      'start_failed',
      `Cannot listen on ${config.COUNTERSIGN_HOST}:${config.COUNTERSIGN_PORT}: ${messageOf(cause)}.`,
      { cause },
    );
  }
  const address = adapter.getInstance().server.address();
  const port = typeof address === 'object' && address !== null ? address.port : config.COUNTERSIGN_PORT;
  const host = config.COUNTERSIGN_HOST.includes(':') ? `[${config.COUNTERSIGN_HOST}]` : config.COUNTERSIGN_HOST;
  const url = `http://${host}:${port}`;
  logger.info({ url }, 'api listening');
  return { app, facts: { url } };
}

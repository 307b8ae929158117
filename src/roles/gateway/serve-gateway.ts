import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { BLOB_PART_BYTES, MOST_JSON_BYTES } from '../../core/remote/wire.ts';
import { readAuthorities, readTlsPair } from '../../ground/keys/tls-files.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { count, measure } from '../../ground/metrics/process-metrics.ts';
import { nestOptions, type RunningRole } from '../../ground/process/run-role.ts';
import { addJsonParser, boundedAdapter, type HttpBounds } from '../../surfaces/http/bounded-adapter.ts';
import { listenAt } from '../../surfaces/http/listen-at.ts';
import { codedErrorOf } from '../../surfaces/http/problem.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { gatewayErrorOf, sendProblem } from './problem.filter.ts';
import { RequestGate } from './request-gate.ts';

const BODY_TIMEOUT_MS = 30_000;
/** Longer than a request for leases waits. */
const REQUEST_TIMEOUT_MS = 120_000;

/** Throws CodedError `config_invalid` where the files cannot be read or do not fit. */
function tlsOf(config: GatewayConfig): HttpBounds['tls'] {
  const { COUNTERSIGN_TLS_CERT_FILE: certFile, COUNTERSIGN_TLS_KEY_FILE: keyFile } = config;
  const { COUNTERSIGN_TLS_CLIENT_CA_FILE: clientFile } = config;
  if (certFile === undefined || keyFile === undefined) return undefined;
  const clientAuthorities = clientFile === undefined ? undefined : readAuthorities(clientFile);
  return { ...readTlsPair(certFile, keyFile), clientAuthorities };
}

/** Makes the gateway's application and listens. Throws CodedError `port_taken` where another program does. */
export async function serveGateway(module: DynamicModule, config: GatewayConfig, logger: Logger): Promise<RunningRole> {
  const adapter = boundedAdapter(
    {
      bodyBytes: BLOB_PART_BYTES,
      bodyTimeoutMs: BODY_TIMEOUT_MS,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      isStreamed: () => false,
      tls: tlsOf(config),
    },
    sendProblem,
  );
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    ...nestOptions(logger),
    bodyParser: false,
  });
  const gate = app.get(RequestGate);
  const instance = adapter.getInstance();
  instance.addHook('onRequest', (request, reply, done) => {
    gate.enter(request).then(
      () => done(),
      (error: unknown) => sendProblem(gatewayErrorOf(error), request, reply),
    );
  });
  addJsonParser(instance, MOST_JSON_BYTES, (request, body) => gate.checkBody(request, body));
  instance.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (request, bytes, done) => {
    const body = Buffer.from(bytes);
    try {
      gate.checkBody(request, body);
      done(null, body);
    } catch (error) {
      done(codedErrorOf(error));
    }
  });
  instance.addHook('onResponse', (request, reply, done) => {
    const labels = { method: request.method, route: request.routeOptions.url ?? 'none' };
    count('countersign_http_requests_total', { ...labels, status: String(reply.statusCode) });
    measure('countersign_http_request_duration_seconds', reply.elapsedTime / 1_000, labels);
    done();
  });
  const url = await listenAt(app, { host: config.COUNTERSIGN_HOST, port: config.COUNTERSIGN_PORT });
  logger.info({ url, pool: config.COUNTERSIGN_POOL }, 'gateway listening');
  return { app, facts: { url } };
}

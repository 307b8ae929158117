import { createServer, type Server } from 'node:http';
import { CodedError, messageOf, systemCodeOf } from '../errors/coded-error.ts';
import { exposeMetrics } from './process-metrics.ts';

/** Where a role without an API of its own is asked how it is. */
export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Serves `/metrics`, and `/health` with 200 while `isHealthy` says so and 503 otherwise. It reads no body and
 * changes nothing. Throws CodedError `port_taken` where another program listens there.
 */
export async function serveMetrics(
  { host, port }: MetricsAddress,
  isHealthy: () => boolean,
): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, text: string) =>
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text);
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET' || (path !== '/metrics' && path !== '/health')) {
      answer(404, 'text/plain', 'This port serves GET /metrics and GET /health.\n');
      return;
    }
    if (path === '/health') {
      const healthy = isHealthy();
      answer(healthy ? 200 : 503, 'application/json', `${JSON.stringify({ healthy })}\n`);
      return;
    }
    exposeMetrics().then(
      ({ contentType, text }) => answer(200, contentType, text),
      (error: unknown) => answer(500, 'text/plain', `${messageOf(error)}\n`),
    );
  });
  server.requestTimeout = 5_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const isTaken = systemCodeOf(cause) === 'EADDRINUSE';
      reject(
        new CodedError(
          isTaken ? 'port_taken' : 'start_failed',
          isTaken
            ? `Another program listens on ${host}:${port}.`
            : `Cannot listen on ${host}:${port}: ${messageOf(cause)}.`,
          { cause, hint: 'choose another port with COUNTERSIGN_METRICS_PORT' },
        ),
      );
    });
    server.listen(port, host, resolve);
  });
  // A role that has nothing else to do ends; being asked for metrics is no reason to stay.
  server.unref();
  const address = server.address();
  const taken = typeof address === 'object' && address !== null ? address.port : port;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`, server };
}

import { createServer, type Server } from 'node:http';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { exposeMetrics } from '../../ground/metrics/process-metrics.ts';
import { JOB_ID } from '../../proof/receipts/fields.ts';
import { ENDPOINTS } from '../openai/requests.ts';
import { Call } from './call.ts';
import type { VerifyingProxy } from './verifying-proxy.ts';

const HEADERS_MS = 10_000;
const BODY_MS = 30_000;
const MAX_HEADER_BYTES = 16_384;
const MAX_CONNECTIONS = 1_024;

/** Where a proxy listens, and how much it takes on. */
export interface ProxyAddress {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** From a request to the last byte of its answer. */
  readonly timeoutMs: number;
  /** Requests that are answered at once; more are told to come again. */
  readonly maxRequests: number;
}

/** What a caller may ask, by the method that it is asked with. */
const POSTED: readonly string[] = [...ENDPOINTS, '/v1/responses'];
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/i;

/** Serves a proxy. Throws CodedError `port_taken` where another program listens there. */
export async function serveProxy(
  proxy: VerifyingProxy,
  address: ProxyAddress,
): Promise<{ url: string; server: Server }> {
  const { host, port, timeoutMs, maxRequests } = address;
  let open = 0;
  const server = createServer(
    { headersTimeout: HEADERS_MS, requestTimeout: BODY_MS, maxHeaderSize: MAX_HEADER_BYTES },
    (request, response) => {
      const call = new Call(request, response, timeoutMs);
      if (open >= maxRequests) {
        const headers = { 'retry-after': '1' };
        call.refuse(new CodedError('overloaded', `The proxy answers ${open} requests already.`, { headers }));
        return;
      }
      open += 1;
      response.once('close', () => (open -= 1));
      route(proxy, call, host).catch((error: unknown) => {
        process.stderr.write(`error: ${messageOf(error)}\n`);
        response.destroy();
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, host, port);
  const bound = server.address();
  const taken = typeof bound === 'object' && bound !== null ? bound.port : port;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`, server };
}

async function route(proxy: VerifyingProxy, call: Call, host: string): Promise<void> {
  const { method, path } = call;
  if (!isMeant(call.header('host'), host)) {
    call.refuse(new CodedError('request_invalid', 'The Host header names another machine than this one.'));
    return;
  }
  if (POSTED.includes(path)) {
    if (method === 'POST') await proxy.answer(path, call);
    else refuseMethod(call, 'POST');
    return;
  }
  const [, job] = /^\/v1\/jobs\/(job_[0-9a-z]{1,64})\/receipt$/.exec(path) ?? [];
  const isList = path === '/v1/models' || /^\/v1\/models\/[^/]{1,600}$/.test(path);
  const isOwn = path === '/metrics' || path === '/health';
  if (!isList && !isOwn && (job === undefined || !JOB_ID.test(job))) {
    call.refuse(new CodedError('route_not_found', `The proxy passes on no ${method} ${path.slice(0, 200)}.`));
    return;
  }
  if (method !== 'GET') refuseMethod(call, 'GET');
  else if (job !== undefined) await proxy.receipt(job, call);
  else if (isList) await proxy.list(path, call);
  else if (path === '/health') call.answer(200, 'application/json', '{"healthy":true}\n');
  else {
    const { contentType, text } = await exposeMetrics();
    call.answer(200, contentType, text);
  }
}

function refuseMethod(call: Call, allow: string): void {
  call.refuse(new CodedError('method_not_allowed', `This address takes ${allow}.`, { headers: { allow } }));
}

/**
 * Whether a request was meant for this machine. A page whose name was made to resolve to it, to use the key
 * of the proxy, sends its own name.
 */
function isMeant(header: string | undefined, host: string): boolean {
  if (!LOOPBACK.test(host)) return true;
  const name = (header ?? '').replace(/:\d{1,5}$/, '').replace(/^\[(.*)\]$/, '$1');
  return LOOPBACK.test(name);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const isTaken = systemCodeOf(cause) === 'EADDRINUSE';
      reject(
        isTaken
          ? new CodedError('port_taken', `Port ${port} is taken; choose another with --port.`, { cause })
          : new CodedError('start_failed', `Cannot listen on ${host}:${port}: ${messageOf(cause)}.`, { cause }),
      );
    });
    server.listen(port, host, resolve);
  });
}

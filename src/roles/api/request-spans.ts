import type { FastifyInstance, FastifyRequest } from 'fastify';
import { answerWithin, beginTrace, type Span } from '../../ground/tracing/spans.ts';

/** What only looks is traced where its caller traces it: pages that stay open ask again and again. */
const LOOKS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Makes a span of each request, in the trace of its caller where that is recorded. */
export function traceRequests(instance: FastifyInstance): void {
  const spans = new WeakMap<FastifyRequest, Span>();
  instance.addHook('onRequest', (request, _reply, done) => {
    const { traceparent } = request.headers;
    const caller = typeof traceparent === 'string' ? traceparent : undefined;
    if (caller === undefined && LOOKS.has(request.method)) {
      done();
      return;
    }
    const route = request.routeOptions.url ?? 'none';
    const span = beginTrace('request', `${request.method} ${route}`, caller);
    span?.note({ 'http.request.method': request.method, 'http.route': route });
    if (span !== undefined) spans.set(request, span);
    done();
  });
  // Behind the body: what reads it runs in a context of its own.
  instance.addHook('preHandler', (request, _reply, done) => answerWithin(spans.get(request), done));
  instance.addHook('onResponse', (request, { statusCode }, done) => {
    const span = spans.get(request);
    span?.note({ 'http.response.status_code': statusCode });
    span?.end(statusCode >= 500 ? { error: String(statusCode) } : {});
    done();
  });
  instance.addHook('onRequestAbort', (request, done) => {
    spans.get(request)?.end({ error: 'aborted' });
    spans.delete(request);
    done();
  });
}

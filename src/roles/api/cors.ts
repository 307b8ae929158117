import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/**
 * What anybody may verify with, wherever their page comes from: public keys, the log, and receipts; and who
 * issues tokens.
 */
const OPEN =
  /^\/(\.well-known\/(countersign\.json|oauth-protected-resource(\/mcp)?)|log\/.+|v1\/jobs\/[^/]+\/receipt)$/;
const METHODS = 'GET, HEAD, POST, PATCH, DELETE';
const PREFLIGHT_LIFE_S = '600';

/**
 * Lets pages of these origins call the API from a browser; `*` is every origin. A page sends its key itself,
 * so that no cookie or other login of the browser is ever allowed.
 */
export function allowOrigins(instance: FastifyInstance, origins: readonly string[]): void {
  instance.addHook('onRequest', (request, reply, done) => {
    const allowed = allowedOrigin(request, origins);
    if (!OPEN.test(pathOf(request)) && !origins.includes('*')) reply.header('vary', 'Origin');
    if (allowed === undefined) {
      done();
      return;
    }
    reply.headers({ 'access-control-allow-origin': allowed, 'access-control-expose-headers': '*' });
    if (isPreflight(request)) answerPreflight(request, reply);
    else done();
  });
}

function allowedOrigin(request: FastifyRequest, origins: readonly string[]): string | undefined {
  const { origin } = request.headers;
  if (origin === undefined) return undefined;
  if (OPEN.test(pathOf(request)) || origins.includes('*')) return '*';
  return origins.includes(origin) ? origin : undefined;
}

const pathOf = ({ url }: FastifyRequest) => url.split('?', 1)[0] ?? '';

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}

/** `Authorization` is never meant by `*`: what the page wants to send is named. */
function answerPreflight(request: FastifyRequest, reply: FastifyReply): void {
  const wanted = request.headers['access-control-request-headers'];
  void reply
    .status(204)
    .headers({
      'access-control-allow-methods': METHODS,
      ...(wanted === undefined ? {} : { 'access-control-allow-headers': wanted }),
      'access-control-max-age': PREFLIGHT_LIFE_S,
    })
    .send();
}
